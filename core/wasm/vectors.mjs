// The vectors of the core, through the WebAssembly build: node vectors.mjs MODULE. Fails with a list of what is wrong.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const vectors = join(dirname(fileURLToPath(import.meta.url)), "../tests/vectors");
const read = (...path) => readFileSync(join(vectors, ...path));

const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const imports = WebAssembly.Module.imports(module);
const { exports } = new WebAssembly.Instance(module, {});

function verify(inputs, when) {
  inputs.forEach((bytes, number) => {
    const at = exports.hardsign_input(number, bytes.length);
    new Uint8Array(exports.memory.buffer, at, bytes.length).set(bytes);
  });
  const length = exports.hardsign_verify(Date.parse(when) / 1000);
  const answer = new Uint8Array(exports.memory.buffer, exports.hardsign_output(), length);
  return JSON.parse(new TextDecoder().decode(answer));
}

const wrong = [];
let checked = 0;
function expect(what, actual, expected) {
  checked += 1;
  if (actual !== expected) wrong.push(`${what}: ${actual}, not ${expected}`);
}

expect("imports", imports.length, 0);

// The reference's signatures of a file: every key and format verifies, the expired ones do not, nor does another file.
const none = new Uint8Array();
const root = read("reference/certificates/root.crt");
const policy = read("reference/trustpolicy.blob.json");
const artifact = read("reference/blob/artifact.bin");
const other = Buffer.concat([artifact, Buffer.of(0)]);
const directories = readdirSync(join(vectors, "reference/blob"), { withFileTypes: true }).filter((e) => e.isDirectory());
expect("signatures of the reference", directories.length, 14);
const now = "2027-01-01T00:00:00Z";
const step = (inputs, when) => {
  const answer = verify(inputs, when);
  return answer.verified ? "verified" : answer.step;
};
for (const { name } of directories) {
  const [file] = readdirSync(join(vectors, "reference/blob", name));
  const signature = read("reference/blob", name, file);
  const expected = name.endsWith("-expired") ? "expiry" : "verified";
  expect(name, step([artifact, signature, root, policy], now), expected);
  expect(`${name}, policy of the page`, step([artifact, signature, root, none], now), expected);
  expect(`${name}, another file`, step([other, signature, root, policy], now), "content");
  const stranger = read("attestation/yubico-piv-root-ca-serial-263751-before-2018.pem");
  expect(`${name}, another root`, step([artifact, signature, stranger, policy], now), "authenticity");
  const changed = Buffer.from(signature);
  changed[Math.floor(changed.length / 3)] ^= 1;
  expect(`${name}, one bit changed`, step([artifact, changed, root, policy], now), "integrity");
}

// The reference's signatures of an artifact, in its layout: with the artifact's manifest as the file. Those by keys whose hash is not
// that of the artifact's digest are intact, and no signatures of a file.
const layout = (digest) => read("reference/layout/blobs", ...digest.split(":"));
const signatures = JSON.parse(read("reference/layout/index.json"))
  .manifests.map(({ digest }) => JSON.parse(layout(digest)))
  .filter(({ subject }) => subject);
expect("signatures in the layout of the reference", signatures.length, 12);
const steps = signatures.map(({ subject, layers }) => {
  const envelope = layout(layers[0].digest);
  expect(`another, ${layers[0].digest}`, step([artifact, envelope, root, policy], now), "content");
  return step([layout(subject.digest), envelope, root, policy], now);
});
expect("by keys with SHA-256", steps.filter((step) => step === "verified").length, 4);
expect("by keys with another hash", steps.filter((step) => step === "content").length, 8);

// Envelopes, each with its verdict on integrity in the manifest.
for (const area of ["jws", "cose"]) {
  for (const { file, verdict } of JSON.parse(read(area, "manifest.json"))) {
    const answer = verify([artifact, read(area, file), root, none], "2027-01-01T00:00:00Z");
    // A good one is refused by a later step: it is about another file, or its root is not trusted here.
    const integrity = { integrity: "bad", content: "good", authenticity: "good" }[answer.step];
    expect(`${area}/${file}`, integrity ?? `${answer.step}: ${answer.message}`, verdict);
    expect(`${area}/${file}, of another file`, answer.verified, false);
  }
}

// A policy that enforces revocation: good without an address to ask.
const strict = Buffer.from(JSON.stringify({ ...JSON.parse(policy), trustPolicies: JSON.parse(policy).trustPolicies.map((statement) => ({
  ...statement, signatureVerification: { level: "strict" } })) }));
const p256 = read("reference/blob/p256-jws/artifact.bin.jws.sig");
expect("strict", verify([artifact, p256, root, strict], "2027-01-01T00:00:00Z").verified, true);

// Rules that one signature can't satisfy are never passed over, and those that it can are looked at.
const ruled = (rules) => Buffer.from(JSON.stringify({ ...JSON.parse(policy), hardsign: { version: "1.0", blob: { vectors: rules } } }));
const demanded = (rules) => verify([artifact, p256, root, ruled(rules)], "2027-01-01T00:00:00Z");
const party = (name) => ({ name, trustedIdentities: [`x509.subject: C=US, ST=WA, O=Vectors, CN=${name}`] });
const two = demanded({ signers: { atLeast: 2, of: [party("signer p256"), party("security")] } });
expect("two signers", two.verified, false);
expect("two signers", two.message.includes('the rule "signers" of trust policy statement "vectors" is about more than one signature'), true);
expect("hardware", demanded({ hardware: {} }).step, "hardware");
expect("an unknown rule", demanded({ signer: { atLeast: 2 } }).step, undefined);

// Nothing given, and nonsense, is an error and no verdict.
expect("nothing", verify([none, none, none, none], "2027-01-01").message, "there is no signature, or it is empty");
expect("no certificate", verify([artifact, artifact, none, none], "2027-01-01").message, "there is no certificate to trust");
for (const when of ["never", "+275760-09-13T00:00:00Z"]) {
  expect(`at ${when}`, verify([artifact, artifact, root, none], when).verified, false);
}

console.log(`${checked} checks in WebAssembly, ${wrong.length} failed`);
for (const line of wrong) console.error(line);
process.exitCode = wrong.length === 0 ? 0 : 1;
