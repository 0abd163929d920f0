import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const { GATEWAY_URL, MOCK_URL } = process.env;
const client = new OpenAI({
  baseURL: `${GATEWAY_URL}/v1`,
  apiKey: "the callers own",
  maxRetries: 0,
  timeout: 60_000,
});
const chat = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };
const SAID = "Hello from gpt-4o. Each word comes when it is said, not at the end.";

// The mock's own address; see examples/gateway/src/mock/control.rs.
const post = path => fetch(MOCK_URL + path, { method: "POST" });
const get = async path => (await fetch(MOCK_URL + path)).json();
const reject = () => post("/mock/reject?times=1&ms=1");

const tests = {
  async "call succeeds although a key is limited"() {
    await reject();
    const { data, response } = await client.chat.completions.create(chat).withResponse();
    assert.equal(data.choices[0].message.content, SAID);
    assert.equal(response.headers.get("x-tower-429-attempts"), "2");
    assert.equal(response.headers.get("x-request-id"), (await get("/mock/last")).request_id);
  },

  async "each chunk arrives before the next is sent"() {
    await reject();
    const headers = { "x-mock-hold": "openai-node" };
    const stream = await client.chat.completions.create({ ...chat, stream: true }, { headers });
    const words = [];
    for await (const chunk of stream) {
      words.push(chunk.choices[0].delta.content ?? "");
      // The mock sends the next chunk only now.
      await post("/mock/release/openai-node");
    }
    assert.equal(words.join(""), SAID);
    assert.equal(words.length, 16);
    assert.deepEqual(await get("/mock/ended/openai-node"), { finished: true });
  },

  async "cancelled stream ends upstream"() {
    const headers = { "x-mock-hold": "openai-node-cancelled" };
    const stream = await client.chat.completions.create({ ...chat, stream: true }, { headers });
    const chunks = stream[Symbol.asyncIterator]();
    await chunks.next();
    await post("/mock/release/openai-node-cancelled");
    assert.equal((await chunks.next()).value.choices[0].delta.content, "Hello ");
    stream.controller.abort();
    assert.deepEqual(await get("/mock/ended/openai-node-cancelled"), { finished: false });
  },

  async "upload of some MiB succeeds although a key is limited"() {
    const content = Buffer.alloc(5 * 1024 * 1024, Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)));
    await reject();
    const file = await toFile(content, "upload.bin");
    const { data, response } = await client.files.create({ file, purpose: "user_data" }).withResponse();
    assert.equal(response.headers.get("x-tower-429-attempts"), "2");
    assert.equal(data.bytes, content.length);
    const back = await client.files.content(data.id);
    assert.ok(content.equals(Buffer.from(await back.arrayBuffer())), "not what was uploaded");
  },

  async "error passes through unchanged"() {
    const body = JSON.stringify({ ...chat, temperature: 3 });
    const call = client.chat.completions.create({ ...chat, temperature: 3 });
    const error = await call.then(() => assert.fail("there was no error"), error => error);
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.equal(error.requestID, (await get("/mock/last")).request_id);
    const headers = { "content-type": "application/json", authorization: "Bearer any" };
    const direct = await fetch(`${MOCK_URL}/v1/chat/completions`, { method: "POST", headers, body });
    assert.equal(error.status, direct.status);
    assert.deepEqual(error.error, (await direct.json()).error);
  },
};

for (const [name, test] of Object.entries(tests)) {
  await test();
  console.log("  ok:", name);
}
