// Asks an endpoint with OpenAI's own client for Node, as a user would.
//
//     node ask.mjs URL MODEL PROMPT      # with the client in node_modules above the working folder
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.cwd() + "/"));
const { OpenAI, NotFoundError } = require("openai");
const [baseURL, model, prompt] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: prompt }];
const found = { models: [] };
for await (const one of await client.models.list()) found.models.push(one.id);
const { data, response } = await client.chat.completions
  .create({ model, messages, logprobs: true })
  .withResponse();
found.chat = data.choices[0].message.content;
found.logprobs = data.choices[0].logprobs.content.map((one) => one.logprob);
found.escalade = data.choices[0].escalade;
found.tier = response.headers.get("x-escalade-tier");
const text = await client.completions.create({ model, prompt, max_tokens: 3 });
found.texts = text.choices.map((one) => one.text);
const stream = await client.chat.completions.create({
  model,
  messages,
  stream: true,
  escalade: { stream: "replace" },
});
found.streamed = "";
for await (const piece of stream) found.streamed += piece.choices[0]?.delta?.content ?? "";
const runner = client.chat.completions.stream({ model, messages });
found.final = (await runner.finalChatCompletion()).choices[0].message.content;
try {
  await client.chat.completions.create({ model: "gpt-4o", messages });
} catch (error) {
  if (!(error instanceof NotFoundError)) throw error;
  found.unknown_model = [error.status, error.code, error.param];
}
console.log(JSON.stringify(found));
