// The page in Chromium: node check.mjs PAGE [SHOTS]. Speaks the DevTools protocol over a pipe; pictures go to the directory SHOTS.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const [page, shots] = process.argv.slice(2);
const vectors = join(dirname(fileURLToPath(import.meta.url)), "../../core/tests/vectors");
const vector = (name) => join(vectors, name);
const work = mkdtempSync(join(tmpdir(), "hardsign-page-"));

const flags = ["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-background-networking",
  "--disable-component-update", "--disable-dev-shm-usage", `--user-data-dir=${work}/profile`];
// A sandbox can't be made by root, as whom tests run in containers.
if (process.getuid() === 0) flags.push("--no-sandbox");
const chromium = spawn("chromium", [...flags, "about:blank"], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
const give_up = setTimeout(() => fail("Chromium did not answer within four minutes"), 240_000);

let last = 0;
const waiting = new Map();
const requests = [];
const faults = [];
let rest = Buffer.alloc(0);
chromium.stdio[4].on("data", (data) => {
  rest = Buffer.concat([rest, data]);
  for (let end; (end = rest.indexOf(0)) >= 0; rest = rest.subarray(end + 1)) {
    const message = JSON.parse(rest.subarray(0, end));
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) reject(new Error(message.error.message));
      else resolve(message.result);
    } else if (message.method === "Network.requestWillBeSent") requests.push(message.params.request.url.slice(0, 100));
    else if (message.method === "Runtime.exceptionThrown") faults.push(message.params.exceptionDetails.text);
  }
});
let sessionId;
const call = (method, params = {}) =>
  new Promise((resolve, reject) => {
    const id = ++last;
    waiting.set(id, { resolve, reject });
    chromium.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  });

async function evaluate(expression) {
  const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.text);
  return result.value;
}

async function choose(id, file) {
  const { root } = await call("DOM.getDocument");
  const { nodeId } = await call("DOM.querySelector", { nodeId: root.nodeId, selector: `#${id}` });
  await call("DOM.setFileInputFiles", { nodeId, files: [file] });
}

/** Drops files on the place of an input, as a file manager does. */
async function drop(id, files) {
  const { x, y } = await evaluate(`(() => {
    const label = document.querySelector("#drop-${id}");
    for (let at = label; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    label.scrollIntoView({ block: "center" });
    const { x, y, width, height } = label.getBoundingClientRect();
    return { x: x + width / 2, y: y + height / 2 };
  })()`);
  const data = { items: [], files, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await call("Input.dispatchDragEvent", { type, x, y, data });
}

const now = () =>
  evaluate(`({ state: document.querySelector("#result").dataset.state,
    message: document.querySelector("#message").textContent,
    text: document.querySelector("#result").innerText,
    chosen: [...document.querySelectorAll(".drop.chosen")].map((label) => label.id),
    rows: Object.fromEntries([...document.querySelectorAll("#rows tr")].map((row) => [...row.cells].map((c) => c.textContent))) })`);

/** What the page says once that holds, or what it says after ten seconds. */
async function until(holds) {
  for (let tries = 0; ; tries += 1) {
    const said = await now();
    if (holds(said) || tries === 200) return said;
    await new Promise((done) => setTimeout(done, 50));
  }
}

async function fresh() {
  await call("Page.navigate", { url: pathToFileURL(resolve(page)).href });
  while (!(await evaluate("document.readyState === 'complete' && document.querySelector('#result') !== null").catch(() => false)));
}

/** A new page with these files, and what it says once it has a verdict. */
async function verdict(files) {
  await fresh();
  for (const [id, file] of Object.entries(files)) await choose(id, file);
  return until(({ state }) => state !== "waiting");
}

const wrong = [];
let checked = 0;
function expect(what, holds, said) {
  checked += 1;
  if (!holds) wrong.push(`${what}: ${JSON.stringify(said)}`);
}

async function shoot(name, width, scheme) {
  if (!shots) return;
  await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  await call("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: false });
  const { data } = await call("Page.captureScreenshot", { captureBeyondViewport: true });
  mkdirSync(shots, { recursive: true });
  writeFileSync(join(shots, `${name}-${scheme}-${width}.png`), Buffer.from(data, "base64"));
}

async function check() {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  ({ sessionId } = await call("Target.attachToTarget", { targetId, flatten: true }));
  for (const domain of ["Page", "Network", "Runtime", "DOM"]) await call(`${domain}.enable`);
  // The vectors' certificates are valid then, whenever this runs.
  await call("Page.addScriptToEvaluateOnNewDocument", { source: "Date.now = () => Date.parse('2027-01-01T00:00:00Z')" });

  const reference = (name) => vector(`reference/blob/${name}/artifact.bin.${name.includes("jws") ? "jws" : "cose"}.sig`);
  const good = {
    file: vector("reference/blob/artifact.bin"),
    signature: reference("p256-jws"),
    certificates: vector("reference/certificates/root.crt"),
  };

  let said = await verdict(good);
  expect("good file", said.state === "good" && said.message === "Successfully verified signature for artifact.bin", said);
  expect("signer", said.rows.signer === "CN=signer p256,OU=Release,O=Vectors,ST=WA,C=US", said);
  expect("signed metadata", said.rows["signed: note"] === 'a <b> & "c" é' && said.rows["signed: build"] === "17", said);
  expect("revocation is spoken of", said.text.includes("revoked was not looked at"), said);
  for (const [width, scheme] of [[1000, "light"], [1000, "dark"], [360, "light"], [360, "dark"]]) await shoot("good", width, scheme);

  said = await verdict({ ...good, signature: reference("rsa4096-cose"), policy: vector("reference/trustpolicy.blob.json") });
  expect("COSE, under a policy", said.state === "good" && said.rows.policy === 'statement "vectors"', said);

  const tampered = join(work, "artifact<img src=x onerror=alert(1)>.bin");
  writeFileSync(tampered, Buffer.concat([readFileSync(good.file), Buffer.of(1)]));
  said = await verdict({ ...good, file: tampered });
  expect("tampered file", said.state === "bad" && said.message.includes("signature does not match the given blob"), said);
  expect("nothing in a name is markup", (await evaluate("document.images.length")) === 0, said);
  for (const [width, scheme] of [[1000, "light"], [360, "dark"]]) await shoot("tampered", width, scheme);
  // Mended on the same page.
  await choose("file", good.file);
  said = await until(({ state }) => state === "good");
  expect("mended", said.state === "good", said);

  // Dropped: all at once on one place, then another file on its own; what is not clear is not guessed.
  await fresh();
  await drop("file", [good.certificates, good.file, good.signature]);
  said = await until(({ state }) => state === "good");
  expect("dropped together", said.state === "good" && said.message.endsWith(" for artifact.bin"), said);
  await drop("file", [tampered]);
  said = await until(({ state }) => state === "bad");
  expect("a dropped file", said.state === "bad" && said.message.includes("does not match"), said);
  await drop("file", [good.file]);
  said = await until(({ state }) => state === "good");
  expect("and the right one again", said.state === "good", said);
  const policy = join(work, "policy.json");
  writeFileSync(policy, readFileSync(vector("reference/trustpolicy.blob.json")));
  await drop("file", [good.file, policy]);
  said = await until(({ state }) => state === "bad");
  expect("two that could be the file", said.state === "bad" && said.message.includes("one by one"), said);
  await drop("policy", [policy]);
  said = await until(({ state }) => state === "good");
  expect("a policy on its own place", said.rows.policy === 'statement "vectors"' && said.chosen.length === 4, said);

  // Too large is not taken, and not shown as if it were.
  const huge = join(work, "huge.json");
  writeFileSync(huge, "");
  truncateSync(huge, 2 ** 30 + 1);
  await drop("policy", [huge]);
  said = await until(({ state }) => state === "bad");
  expect("too large", said.message.includes("more than 1 GiB") && !said.chosen.includes("drop-policy"), said);
  await fresh();
  await drop("file", [huge, good.signature, good.certificates]);
  said = await until(({ state }) => state === "bad");
  expect("too large, with others", said.message.includes("more than 1 GiB") && said.chosen.length === 2, said);

  said = await verdict({ ...good, certificates: vector("attestation/yubico-piv-root-ca-serial-263751-before-2018.pem") });
  expect("wrong root", said.state === "bad" && said.rows.root === "CN=Vectors Root,O=Vectors,ST=WA,C=US", said);

  said = await verdict({ ...good, signature: reference("p256-jws-expired") });
  expect("expired", said.state === "bad" && said.message.includes("digital signature has expired"), said);

  said = await verdict({ ...good, signature: good.file });
  expect("no signature at all", said.state === "bad", said);

  // Whatever a script of the page would try.
  const refused = await evaluate(`new Promise((done) => {
    addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
    fetch("http://127.0.0.1:9/").catch(() => {});
  })`);
  expect("connections are forbidden", refused === "connect-src", refused);
  const loads = requests.filter((url) => !url.startsWith("file:") && url !== "http://127.0.0.1:9/");
  expect("nothing is loaded", loads.length === 0, loads);
  expect("no exceptions", faults.length === 0, faults);
}

function end(code) {
  clearTimeout(give_up);
  process.exitCode = code;
  const clear = (tries) => {
    try {
      rmSync(work, { recursive: true, force: true });
    } catch (error) {
      // Other processes of the browser outlive it by a moment, and write to its profile.
      if (tries > 0) {
        setTimeout(clear, 100, tries - 1);
        return;
      }
      console.error(`${work} was not removed: ${error.message}`);
    }
    process.exit(code);
  };
  if (chromium.exitCode !== null || chromium.signalCode !== null) {
    clear(50);
    return;
  }
  chromium.on("exit", () => clear(50));
  chromium.kill();
  setTimeout(() => chromium.kill("SIGKILL"), 20_000);
}

function fail(text) {
  console.error(text);
  end(1);
}

chromium.on("error", (error) => {
  console.error(`chromium: ${error.message}`);
  process.exit(1);
});
check().then(
  () => {
    console.log(`${checked} checks in Chromium, ${wrong.length} failed`);
    for (const line of wrong) console.error(line);
    end(wrong.length === 0 ? 0 : 1);
  },
  (error) => fail(error.stack),
);
