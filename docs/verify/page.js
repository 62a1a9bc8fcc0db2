
"use strict";
// The inputs by the number that the module knows them by.
const inputs = ["file", "signature", "certificates", "policy"];
const LONGEST = 1 << 30;
const chosen = inputs.map(() => null);
const found = (id) => document.getElementById(id);

const text = atob(found("module").textContent.trim());
const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const module = WebAssembly.compile(bytes);

// The answer to the newest question; older ones that come late are dropped.
let asked = 0;

async function verify() {
  const now = ++asked;
  if (!chosen[0] || !chosen[1] || !chosen[2]) return show("waiting", "Choose a file, its signature and a certificate.");
  show("waiting", "Verifying …");
  let answer;
  try {
    const contents = await Promise.all(chosen.map((file) => (file ? file.arrayBuffer() : new ArrayBuffer(0))));
    const { exports } = await WebAssembly.instantiate(await module, {});
    contents.forEach((content, number) => {
      const at = exports.hardsign_input(number, content.byteLength);
      new Uint8Array(exports.memory.buffer, at, content.byteLength).set(new Uint8Array(content));
    });
    const length = exports.hardsign_verify(Date.now() / 1000);
    const output = new Uint8Array(exports.memory.buffer, exports.hardsign_output(), length);
    answer = JSON.parse(new TextDecoder().decode(output));
  } catch (error) {
    answer = { verified: false, message: `this could not be verified here: ${error.message}`, rows: [], metadata: {}, notes: [] };
  }
  if (now !== asked) return;
  if (answer.verified === true) return show("good", `${answer.message} for ${chosen[0].name}`, answer);
  show("bad", `Not verified: ${answer.message}`, answer);
}

// What comes from files is set as text, never as markup. Characters that change the order of others, or have no width, are shown by number.
const plain = (value) =>
  String(value).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function show(state, message, answer = { rows: [], metadata: {}, notes: [] }) {
  found("result").dataset.state = state;
  found("message").textContent = plain(message);
  const metadata = Object.entries(answer.metadata).map(([name, value]) => [`signed: ${name}`, value]);
  found("rows").replaceChildren(
    ...[...answer.rows, ...metadata].map(([name, value]) => {
      const row = document.createElement("tr");
      const [th, td] = ["th", "td"].map((kind) => row.appendChild(document.createElement(kind)));
      th.scope = "row";
      th.textContent = plain(name);
      td.textContent = plain(value);
      return row;
    }),
  );
  found("notes").replaceChildren(
    ...answer.notes.map((note) => Object.assign(document.createElement("li"), { textContent: plain(note) })),
  );
}

const labels = inputs.map((id) => found(`drop-${id}`));
const texts = labels.map((label) => [...label.querySelector("span").childNodes]);

/** Puts a file in its place; whether it fits. */
function take(number, file) {
  const fits = file.size <= LONGEST;
  chosen[number] = fits ? file : null;
  labels[number].classList.toggle("chosen", fits);
  labels[number].querySelector("span").replaceChildren(...(fits ? [plain(file.name)] : texts[number]));
  return fits;
}

/** Files that were given together, each with the number of its place. */
function choose(pairs) {
  // A verdict that is under way is about other files.
  asked += 1;
  const large = pairs.filter(([number, file]) => !take(number, file));
  if (large.length > 0) return show("bad", `${large[0][1].name} has more than 1 GiB: use hardsign blob verify`);
  verify();
}

function placeOf(name) {
  if (name.endsWith(".sig")) return 1;
  if (/\.(pem|crt|cer|der)$/.test(name)) return 2;
  return name === "trustpolicy.blob.json" ? 3 : 0;
}

// Several files that are dropped together find their places by their names. Where two have the same, nothing is guessed.
function place(files, number) {
  if (files.length === 0) return;
  if (files.length === 1) return choose([[number, files[0]]]);
  const places = [...files].map((file) => placeOf(file.name.toLowerCase()));
  if (new Set(places).size < places.length) {
    asked += 1;
    return show("bad", "It is not clear what each of these files is: drop them one by one, each on its own place");
  }
  choose(places.map((at, which) => [at, files[which]]));
}

inputs.forEach((id, number) => {
  const label = labels[number];
  found(id).addEventListener("change", (event) => place(event.target.files, number));
  label.addEventListener("dragover", () => label.classList.add("over"));
  label.addEventListener("dragleave", () => label.classList.remove("over"));
  label.addEventListener("drop", (event) => {
    label.classList.remove("over");
    place(event.dataTransfer.files, number);
  });
});
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
