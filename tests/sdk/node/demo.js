// `creditgate demo` as a process: gateway, simulated provider and three accounts, for one test.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

// Milliseconds in which whatever is waited for must have happened. Generous: only a failing test waits for its end.
const DEADLINE = 30_000;

// What the account `demo` starts with.
export const CREDITS = 8;

/** Asks `condition` until it answers with something true. */
async function until(what, condition) {
  for (const end = Date.now() + DEADLINE; ; ) {
    const answer = await condition();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function ask(url, key) {
  const answer = await fetch(url, { headers: key ? { authorization: `Bearer ${key}` } : {} });
  return answer.text();
}

/** Runs `test` with a fresh demo. */
export async function withDemo(test) {
  const listens = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
  const options = { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, RUST_LOG: "creditgate=info" } };
  const child = spawn(process.env.CREDITGATE_BIN, ["demo", "--json", ...listens], options);
  const ended = once(child, "exit");
  let log = "";
  child.stderr.on("data", (piece) => (log += piece));
  try {
    const [line] = await once(createInterface(child.stdout), "line", { signal: AbortSignal.timeout(DEADLINE) });
    await test(new Demo(JSON.parse(line)));
  } catch (error) {
    console.error(log);
    throw error;
  } finally {
    child.kill();
    await ended;
  }
}

class Demo {
  constructor(ready) {
    Object.assign(this, ready);
    this.statements = 0;
  }

  key(account = "demo") {
    return this.accounts[account].key;
  }

  /** What calls of the account `demo` have cost by now. */
  async spent() {
    return until("no credit is held", async () => {
      this.statements += 1;
      const statement = JSON.parse(await ask(`${this.gateway}/credits`, this.key()));
      return statement.held === 0 && { credits: CREDITS - statement.remaining };
    }).then((spent) => spent.credits);
  }

  /** How many requests of clients the gateway has answered, once none is in flight. */
  async answered() {
    const metrics = await until("no request is in flight", async () => {
      const text = await ask(`${this.admin}/metrics`, this.admin_token);
      return /^creditgate_requests_in_flight 0$/m.test(text) && text;
    });
    const series = metrics.matchAll(/^creditgate_requests_total\{.*\} (\d+)$/gm);
    return [...series].reduce((sum, [, count]) => sum + Number(count), 0) - this.statements;
  }

  /** The paths that the simulated provider was asked for, oldest first. */
  async asked() {
    const { requests } = JSON.parse(await ask(`${this.provider}/_sim/requests`));
    return requests.map((request) => request.path.split("?")[0]);
  }
}
