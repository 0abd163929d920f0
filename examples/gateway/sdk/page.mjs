import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const { GATEWAY_URL, MOCK_URL, GATEWAY_PID, CHROMIUM, PICTURE } = process.env;

const ask = (path, body) =>
  fetch(GATEWAY_URL + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
const refuse = (times, ms) => fetch(`${MOCK_URL}/mock/refuse?times=${times}&ms=${ms}`, { method: "POST" });
const openai = model => ask("/v1/chat/completions", { model, messages: [] });

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
try {
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
  const errors = [];
  const requested = [];
  const received = [];
  page.on("pageerror", error => errors.push(String(error)));
  page.on("console", message => message.type() === "error" && errors.push(message.text()));
  page.on("request", request => requested.push(new URL(request.url()).origin));
  page.on("response", response => received.push(response.text().catch(() => "")));

  await page.goto(GATEWAY_URL);
  const row = (upstream, label) =>
    page.locator(`table[data-upstream="${upstream}"] tbody tr`).filter({ has: page.locator("th", { hasText: label }) });
  const says = (locator, text) => locator.filter({ hasText: text }).waitFor({ timeout: 60_000 });
  const rejections = page.locator("#rejections tbody");
  const status = page.getByRole("status");

  await says(status, "live");
  for (const label of ["SEARCH_TEAM", "CHAT_TEAM", "FORMER_TEAM"]) await says(row("openai", label), "free");
  await says(row("openai", "SEARCH_TEAM"), "group org 1");
  await says(rejections, "none yet");
  console.log("  ok: the page shows the keys, and that they are free");

  // The first key is limited, the second answers; then the third turns out to be revoked.
  await refuse(1, 40_000);
  assert.equal((await openai("gpt-4o")).headers.get("x-tower-429-key"), "CHAT_TEAM");
  await says(row("openai", "SEARCH_TEAM"), "rate limited");
  await says(row("openai", "SEARCH_TEAM"), "for gpt-4o");
  assert.equal((await openai("gpt-4o")).status, 200);
  await says(row("openai", "FORMER_TEAM"), "key rejected");
  const state = row("openai", "SEARCH_TEAM").locator(".state");
  const seconds = async () => Number((await state.textContent()).match(/([\d.]+) s/)[1]);
  const first = await seconds();
  assert.ok(first > 0 && first <= 40, String(first));
  const isLess = first => {
    const state = document.querySelector('table[data-upstream="openai"] tbody tr .state');
    return Number(state.textContent.match(/([\d.]+) s/)[1]) < first;
  };
  await page.waitForFunction(isLess, first);
  console.log("  ok: a cooldown appears when the upstream limits a key, and counts down");

  await says(rejections, "401");
  const rows = await rejections.locator("tr").allTextContents();
  assert.equal(rows.length, 2);
  assert.match(rows[0], /openai.*FORMER_TEAM.*401.*key rejected.*next key/);
  assert.match(rows[1], /openai.*SEARCH_TEAM.*gpt-4o.*429.*rate limited.*for 40\.0 s.*next key/);
  console.log("  ok: rejections are listed, the newest first, with what was done");

  const model = "<img src=x onerror=alert(1)>";
  await refuse(1, 20_000);
  await ask("/v1/messages", { model: "claude-sonnet-5", max_tokens: 9, messages: [] });
  await says(row("anthropic", "SEARCH_TEAM"), "for claude-sonnet-5");
  await openai(model);
  assert.equal(await page.locator("img").count(), 0);

  const limits = label => page.locator(`table[data-upstream="openai"] ul[aria-label="limits of ${label}"] li`);
  await says(limits("CHAT_TEAM"), /requests.* for gpt-4o/);
  await says(limits("CHAT_TEAM"), /\d+ of 1,000 left, resets in 59 min/);
  assert.equal(await limits("FORMER_TEAM").count(), 0);
  console.log("  ok: the known limits of a key are shown");

  // The first key was rejected. The second has used up what it may send, and was not rejected.
  assert.equal((await ask("/v1/messages", { model: "claude-haiku-5-5", max_tokens: 9, messages: [] })).status, 200);
  const states = label => row("anthropic", label).locator("td div");
  await says(states("SEARCH_TEAM"), /^rate limited, [\d.]+ s for claude-sonnet-5$/);
  await says(states("CHAT_TEAM"), /^no room left, 59 min \d+ s for claude-haiku-5-5$/);
  for (const [label, kind] of [["SEARCH_TEAM", "cooling"], ["CHAT_TEAM", "full"]]) {
    assert.equal(await states(label).count(), 1);
    assert.equal(await states(label).locator(`.${kind}`).count(), 1);
  }
  console.log("  ok: a key with no room left is told from one that was rate limited");

  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width: 390, height: 844 });
    const narrow = await page.evaluate(() => {
      const shown = [...document.querySelectorAll("h1, p, caption, tbody th, tbody td, .state, li, .bar")];
      return {
        page: document.documentElement.scrollWidth,
        boxes: shown.map(element => ({ text: element.textContent, ...element.getBoundingClientRect().toJSON() })),
      };
    });
    assert.equal(narrow.page, 390);
    assert.ok(narrow.boxes.length > 50);
    for (const { text, left, right } of narrow.boxes) assert.ok(left >= 0 && right <= 390, `${text}: ${left} to ${right}`);
    if (PICTURE) await page.screenshot({ path: PICTURE.replace(/\.png$/, `-390-${scheme}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize({ width: 1100, height: 900 });
  console.log("  ok: on a screen of 390 pixels everything is in view");

  const bare = await page.evaluate(() => ({
    tables: [...document.querySelectorAll("table")].filter(table => !table.caption).length,
    headers: [...document.querySelectorAll("th")].filter(header => !header.scope).length,
    states: [...document.querySelectorAll(".state")].filter(state => !state.textContent.trim()).length,
  }));
  assert.deepEqual(bare, { tables: 0, headers: 0, states: 0 });
  console.log("  ok: tables have captions, headers their scope, and colours their words");

  const metrics = await (await fetch(`${GATEWAY_URL}/metrics`)).text();
  assert.match(metrics, /^tower_429_keys\{pool="openai",state="on_cooldown"\} 1$/m);
  const told = [metrics, await page.content(), ...(await Promise.all(received))].join("\n");
  for (const secret of ["secret-search", "secret-chat", "revoked-secret"]) {
    assert.ok(!told.includes(secret), `the page knows ${secret}`);
  }
  assert.deepEqual([...new Set(requested)], [new URL(GATEWAY_URL).origin]);
  console.log("  ok: no key is in the page, in what it loads or in the metrics, and nothing is loaded from elsewhere");

  if (PICTURE) {
    await page.screenshot({ path: PICTURE, fullPage: true });
    console.log(`  the picture is ${PICTURE}`);
  }

  assert.deepEqual(errors, []);
  process.kill(Number(GATEWAY_PID), "SIGTERM");
  await says(status, "does not answer");
  console.log("  ok: the page says when the gateway is gone");
} finally {
  await browser.close();
}
