// TLS before a gateway, as a load balancer ends it: the packages open some sockets with nothing else.

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";

/** Runs `test` with the address of a front before `gateway`, and the authority that its clients must trust. */
export async function withFront(gateway, test) {
  const folder = mkdtempSync(join(tmpdir(), "creditgate-front-"));
  const file = (name) => join(folder, name);
  const names = "-subj /CN=front -addext subjectAltName=IP:127.0.0.1";
  const made = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 ${names}`;
  execFileSync("openssl", [...made.split(" "), "-keyout", file("key"), "-out", file("cert")], { stdio: "ignore" });
  const [key, cert] = ["key", "cert"].map((name) => readFileSync(file(name)));
  rmSync(folder, { recursive: true });
  const { hostname, port } = new URL(gateway);
  const open = new Set();
  const server = createServer({ key, cert }, (near) => {
    const far = connect(port, hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      open.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await test(`https://127.0.0.1:${server.address().port}`, cert);
  } finally {
    open.forEach((socket) => socket.destroy());
    server.close();
  }
}
