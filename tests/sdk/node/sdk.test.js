// The official packages, and Vercel's `ai` with its providers, through the gateway: what works, what it costs, and what
// is raised when it is refused, after how many requests.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { APICallError, generateText, RetryError, streamText } from "ai";
import OpenAI from "openai";

import { withDemo } from "./demo.js";

const WORDS = "The simulated provider says ";
const TOP_UP = "https://app.example.com/billing";
const messages = [{ role: "user", content: "Hello" }];

/** A package: how it is pointed at a demo, its calls, how often it tries, and what it raises. */
const openai = {
  attempts: 3,
  client: (demo, apiKey) => new OpenAI({ baseURL: `${demo.gateway}/v1`, apiKey }),
  free: async (client) => (await client.models.list()).data.length,
  text: async (client, headers) => {
    const answer = await client.chat.completions.create({ model: "sim-small", messages }, { headers });
    return answer.choices[0].message.content;
  },
  stream: async (client) => {
    const stream = await client.chat.completions.create({ model: "sim-small", messages, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
    return text;
  },
  raised: { 401: "AuthenticationError", 402: "APIError", 403: "PermissionDeniedError", 429: "RateLimitError", 503: "InternalServerError" },
  status: (error) => error.status,
  name: (error) => error.constructor.name,
};

const anthropic = {
  attempts: 3,
  client: (demo, apiKey) => new Anthropic({ baseURL: demo.gateway, apiKey }),
  free: async (client) => (await client.models.list()).data.length,
  text: async (client, headers) => {
    const asked = { model: "sim-small", max_tokens: 64, messages };
    return (await client.messages.create(asked, { headers })).content[0].text;
  },
  stream: async (client) => {
    let text = "";
    const stream = client.messages.stream({ model: "sim-small", max_tokens: 64, messages });
    for await (const event of stream) if (event.type === "content_block_delta") text += event.delta.text;
    return text;
  },
  raised: { 401: "AuthenticationError", 402: "PaymentRequiredError", 403: "PermissionDeniedError", 429: "RateLimitError", 503: "ServiceUnavailableError" },
  status: (error) => error.status,
  name: (error) => error.constructor.name,
};

/** Vercel's package with one of its providers. It waits two seconds before it tries again, so it may once only. */
function vercel(client) {
  const last = (error) => (RetryError.isInstance(error) ? error.lastError : error);
  const once = { maxRetries: 1, messages };
  return {
    attempts: 2,
    client,
    text: async (model, headers) => (await generateText({ model, headers, ...once })).text,
    stream: async (model) => {
      let text = "";
      for await (const piece of streamText({ model, ...once }).textStream) text += piece;
      return text;
    },
    raised: Object.fromEntries([401, 402, 403, 429, 503].map((status) => [status, "AI_APICallError"])),
    status: (error) => last(error).statusCode,
    name: (error) => (APICallError.isInstance(last(error)) ? last(error).name : error.name),
    message: (error) => last(error).message,
  };
}

const packages = {
  openai,
  "@anthropic-ai/sdk": anthropic,
  "ai with chats of OpenAI": vercel((demo, apiKey) => createOpenAI({ baseURL: `${demo.gateway}/v1`, apiKey }).chat("sim-small")),
  "ai with responses of OpenAI": vercel((demo, apiKey) => createOpenAI({ baseURL: `${demo.gateway}/v1`, apiKey })("sim-small")),
  "ai with Anthropic": vercel((demo, apiKey) => createAnthropic({ baseURL: `${demo.gateway}/v1`, apiKey })("sim-small")),
  "ai with Google": vercel((demo, apiKey) => createGoogleGenerativeAI({ baseURL: `${demo.gateway}/v1beta`, apiKey })("sim-small")),
};

for (const [name, sdk] of Object.entries(packages)) {
  describe(name, { concurrency: 2 }, () => {
    const demoTest = (what, body) => test(what, () => withDemo(body));

    demoTest("works, and costs one credit for each call", async (demo) => {
      const client = sdk.client(demo, demo.key());
      if (sdk.free) assert.ok((await sdk.free(client)) > 0);
      assert.equal(await demo.spent(), 0);
      assert.equal(await sdk.text(client), WORDS);
      assert.equal(await demo.spent(), 1);
      assert.equal(await sdk.stream(client), WORDS);
      assert.equal(await demo.spent(), 2);
    });

    demoTest("raises once when there are no credits", async (demo) => {
      await assert.rejects(sdk.text(sdk.client(demo, demo.key("broke"))), (error) => {
        assert.deepEqual([sdk.status(error), sdk.name(error)], [402, sdk.raised[402]]);
        assert.match(sdk.message?.(error) ?? error.message, new RegExp(TOP_UP));
        return true;
      });
      assert.equal(await demo.answered(), 1);
      assert.deepEqual(await demo.asked(), []);
    });

    for (const [status, key] of [[403, (demo) => demo.key("paused")], [401, () => "cg_unknown"]]) {
      demoTest(`raises once at ${status}`, async (demo) => {
        await assert.rejects(sdk.text(sdk.client(demo, key(demo))), (error) => {
          assert.deepEqual([sdk.status(error), sdk.name(error)], [status, sdk.raised[status]]);
          return true;
        });
        assert.equal(await demo.answered(), 1);
        assert.deepEqual(await demo.asked(), []);
      });
    }

    for (const status of [429, 503]) {
      demoTest(`tries again at ${status}, and pays nothing`, async (demo) => {
        const client = sdk.client(demo, demo.key());
        await assert.rejects(sdk.text(client, { "x-sim": `status=${status}` }), (error) => {
          assert.deepEqual([sdk.status(error), sdk.name(error)], [status, sdk.raised[status]]);
          return true;
        });
        assert.equal(await demo.answered(), sdk.attempts);
        assert.equal(await demo.spent(), 0);
      });
    }
  });
}

test("the results of a batch of Anthropic's come through the gateway", () =>
  withDemo(async (demo) => {
    const { batches } = new Anthropic({ baseURL: demo.gateway, apiKey: demo.key() }).messages;
    const params = { model: "sim-small", max_tokens: 64, messages };
    const { id } = await batches.create({ requests: ["one", "two"].map((custom_id) => ({ custom_id, params })) });
    const batch = await batches.retrieve(id);
    assert.equal(batch.results_url, `${demo.gateway}/anthropic/v1/messages/batches/${id}/results`);
    const results = [];
    for await (const one of await batches.results(id)) results.push([one.custom_id, one.result.message.content[0].text]);
    assert.deepEqual(results, [["one", WORDS], ["two", WORDS]]);
    assert.equal((await demo.asked()).at(-1), `/v1/messages/batches/${id}/results`);
    const others = new Anthropic({ baseURL: demo.gateway, apiKey: demo.key("broke") });
    for (const refused of [() => others.messages.batches.results(id), () => others.get(batch.results_url)]) {
      await assert.rejects(refused, (error) => error.status === 404);
    }
    assert.equal(await demo.spent(), 1);
  }));

/** Each package with a model that is priced by its tokens, and an answer that is compressed though nobody asked for it. */
const metered = {
  openai: {
    make: (demo) => new OpenAI({ baseURL: `${demo.gateway}/v1`, apiKey: demo.key() }),
    text: async (client, headers) => {
      const answer = await client.chat.completions.create({ model: "sim-metered", messages }, { headers });
      return answer.choices[0].message.content;
    },
    stream: async (client, headers) => {
      const asked = { model: "sim-metered", messages, stream: true };
      let text = "";
      for await (const chunk of await client.chat.completions.create(asked, { headers })) text += chunk.choices[0]?.delta.content ?? "";
      return text;
    },
  },
  "@anthropic-ai/sdk": {
    make: (demo) => new Anthropic({ baseURL: demo.gateway, apiKey: demo.key() }),
    text: async (client, headers) => {
      const asked = { model: "sim-metered", max_tokens: 64, messages };
      return (await client.messages.create(asked, { headers })).content[0].text;
    },
    stream: async (client, headers) => {
      const asked = { model: "sim-metered", max_tokens: 64, messages };
      let text = "";
      for await (const event of client.messages.stream(asked, { headers })) if (event.type === "content_block_delta") text += event.delta.text;
      return text;
    },
  },
};

// Those that this version of Node reads.
for (const [name, sdk] of Object.entries(metered)) {
  for (const coding of ["gzip", "deflate", "br"]) {
    test(`${name} reads an answer in ${coding}, which costs what it reports`, () =>
      withDemo(async (demo) => {
        const headers = { "x-sim": `input-tokens=70,output-tokens=3,coding=${coding}` };
        const client = sdk.make(demo);
        assert.equal(await sdk.text(client, headers), WORDS);
        assert.equal((await demo.spent()).toFixed(6), "0.010000");
        assert.equal(await sdk.stream(client, headers), WORDS);
        assert.equal((await demo.spent()).toFixed(6), "0.020000");
      }));
  }
}
