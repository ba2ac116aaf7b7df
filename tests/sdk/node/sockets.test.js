// The sockets of the `openai` package: a response costs a credit; who may not spend is told so before, or in the middle.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { ResponsesWS } from "openai/resources/responses/ws";

import { CREDITS, withDemo } from "./demo.js";
import { withFront } from "./front.js";

const WORDS = "The simulated provider says ";
const TOP_UP = "https://app.example.com/billing";
const timeout = 60_000;

const apis = {
  realtime: {
    // It speaks TLS whatever the base URL says.
    open: (client, ca) => new OpenAIRealtimeWS({ model: "sim-small", options: { ca } }, client),
    create: { type: "response.create" },
    done: "response.done",
  },
  responses: {
    open: (client, ca) => new ResponsesWS(client, { ca }),
    create: { type: "response.create", model: "sim-small", input: "Hello" },
    done: "response.completed",
  },
};

for (const [name, api] of Object.entries(apis)) {
  describe(`sockets of ${name}`, { concurrency: 2 }, () => {
    const socketTest = (what, body) =>
      test(what, { timeout }, () =>
        withDemo((demo) =>
          withFront(demo.gateway, (front, ca) => {
            const client = (apiKey) => new OpenAI({ baseURL: `${front}/v1`, apiKey });
            return body(demo, (apiKey) => api.open(client(apiKey), ca));
          }),
        ),
      );

    /** What a socket says until it has said `type`: the text, and that event. */
    const until = (socket, type) =>
      new Promise((resolve, reject) => {
        let text = "";
        const on = (name, listener) => {
          socket.on(name, listener);
          return () => socket.off(name, listener);
        };
        const offs = [
          on("response.output_text.delta", (event) => (text += event.delta)),
          on(type, (event) => end(resolve, { text, event })),
          on("error", (error) => (type === "error" ? undefined : end(reject, error))),
        ];
        const end = (settle, value) => {
          offs.forEach((off) => off());
          settle(value);
        };
      });

    const respond = (socket) => {
      const answered = until(socket, api.done);
      socket.send(api.create);
      return answered;
    };

    const opened = (socket) => new Promise((resolve, reject) => {
      socket.socket.on("open", resolve);
      socket.on("error", reject);
    });

    const closed = (socket) => new Promise((resolve) => socket.socket.on("close", (code, reason) => resolve([code, String(reason)])));

    socketTest("each response costs one credit", async (demo, open) => {
      const socket = open(demo.key());
      await opened(socket);
      for (const spent of [1, 2]) {
        assert.equal((await respond(socket)).text, WORDS);
        assert.equal(await demo.spent(), spent);
      }
      const ended = closed(socket);
      socket.close();
      await ended;
      assert.equal(await demo.spent(), 2);
    });

    for (const [status, key] of [[402, (demo) => demo.key("broke")], [403, (demo) => demo.key("paused")], [401, () => "cg_unknown"]]) {
      socketTest(`is refused with ${status} before the handshake`, async (demo, open) => {
        await assert.rejects(opened(open(key(demo))), (error) => {
          assert.match(error.message, new RegExp(`${status}`));
          return true;
        });
        assert.equal(await demo.answered(), 1);
        assert.deepEqual(await demo.asked(), []);
      });
    }

    socketTest("says so when the credits end in the middle", async (demo, open) => {
      const socket = open(demo.key());
      await opened(socket);
      for (let spent = 1; spent <= CREDITS; spent++) {
        await respond(socket);
        assert.equal(await demo.spent(), spent);
      }
      const [refused, ended] = [until(socket, "error"), closed(socket)];
      socket.send(api.create);
      const error = (await refused).event;
      assert.equal(error.error.code ?? error.error.error?.code, "insufficient_quota");
      assert.match(error.message, new RegExp(TOP_UP));
      assert.deepEqual(await ended, [1008, "insufficient_quota"]);
    });
  });
}
