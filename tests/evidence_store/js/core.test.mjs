// The core of verify.html against published vectors, and against what it must refuse. Run by test_verify_html.py: node --test.
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { Core } from "./core.mjs";

const { b64, hex, unhex, utf8, sha256 } = Core;
const refuses = (work, what) => assert.throws(work, (error) => error instanceof Core.Refused && (!what || error.message.includes(what)));
const refusesLater = (work, what) => assert.rejects(work, (error) => error instanceof Core.Refused && (!what || error.message.includes(what)));

test("SHA-256 equals node's, at every length around a block and in pieces", () => {
  const bytes = randomBytes(1000);
  for (let size = 0; size < 200; size++) assert.equal(hex(sha256(bytes.subarray(0, size))), createHash("sha256").update(bytes.subarray(0, size)).digest("hex"));
  const sum = new Core.Sha256();
  for (let place = 0; place < 1000; place += 7) sum.add(bytes.subarray(place, place + 7));
  assert.equal(hex(sum.digest()), createHash("sha256").update(bytes).digest("hex"));
});

// Leaves and roots of Certificate Transparency's reference tree (RFC 6962, in its test data).
const LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"].map((one) => unhex(one));
const ROOTS = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

test("roots of the reference tree, whole and grown from a frontier", () => {
  const tree = new Core.Frontier();
  assert.equal(hex(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  LEAVES.forEach((leaf, place) => {
    const later = new Core.Frontier(tree.size, tree.hashes);
    assert.equal(hex(tree.add(Core.leafHash(leaf)).root()), ROOTS[place]);
    assert.equal(hex(later.add(Core.leafHash(leaf)).root()), ROOTS[place]);
  });
  refuses(() => new Core.Frontier(3, [unhex(ROOTS[0])]), "frontier");
});

test("inclusion and consistency proofs of the reference tree, and nothing near them", () => {
  const path = ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7", "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e", "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"].map(unhex);
  const leaf = Core.leafHash(LEAVES[0]), root = unhex(ROOTS[7]);
  assert.ok(Core.included(0, 8, leaf, path, root));
  const six = ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"].map(unhex);
  assert.ok(Core.consistent(6, 8, unhex(ROOTS[5]), root, six));
  for (let place = 0; place < 3; place++) {
    const other = [...path];
    other[place] = unhex(ROOTS[3]);
    assert.ok(!Core.included(0, 8, leaf, other, root));
    const false6 = [...six];
    false6[place] = unhex(ROOTS[2]);
    assert.ok(!Core.consistent(6, 8, unhex(ROOTS[5]), root, false6));
  }
  for (const [index, size, proof] of [[1, 8, path], [0, 4, path], [8, 8, path], [-1, 8, path], [0, 8, path.slice(1)], [0, 8, [...path, path[0]]]]) assert.ok(!Core.included(index, size, leaf, proof, root));
  for (const [old, size, proof] of [[0, 8, []], [8, 6, six], [5, 8, six], [6, 8, []], [6, 8, six.slice(1)], [6, 8, [...six, six[0]]], [8, 8, six]]) assert.ok(!Core.consistent(old, size, unhex(ROOTS[5]), root, proof));
});

// RFC 8032, 7.1: tests 1 to 3.
const RFC8032 = [
  ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"],
  ["3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"],
  ["fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82", "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"],
];
const ED25519 = "302a300506032b6570032100";

test("Ed25519 signatures of RFC 8032 verify, and no bit of them may change", async () => {
  for (const [key, message, signature] of RFC8032) {
    const spki = unhex(ED25519 + key), known = await Core.PublicKey.from(spki);
    assert.equal(known.fingerprint, createHash("sha256").update(spki).digest("hex"));
    assert.ok(await known.verifies(unhex(signature), unhex(message)));
    for (const place of [0, 31, 32, 63]) {
      const other = unhex(signature);
      other[place] ^= 1;
      assert.ok(!(await known.verifies(other, unhex(message))));
    }
    assert.ok(!(await known.verifies(unhex(signature).slice(1), unhex(message))));
    assert.ok(!(await known.verifies(unhex(signature), unhex(`${message}00`))));
  }
  await refusesLater(() => Core.PublicKey.from(unhex(`${ED25519}00`)), "neither");
});

test("P-256 signatures verify in their one spelling: strict DER, the lower s", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = await Core.PublicKey.from(new Uint8Array(publicKey.export({ type: "spki", format: "der" })));
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const number = (value) => { let digits = value.toString(16); digits = digits.length % 2 ? `0${digits}` : digits; return parseInt(digits.slice(0, 2), 16) > 127 ? `00${digits}` : digits; };
  const part = (digits) => `02${(digits.length / 2).toString(16).padStart(2, "0")}${digits}`;
  const der = (...parts) => unhex(`30${(parts.join("").length / 2).toString(16).padStart(2, "0")}${parts.join("")}`);
  for (let turn = 0; turn < 40; turn++) {
    const raw = sign("sha256", utf8("message"), { key: privateKey, dsaEncoding: "ieee-p1363" });
    const r = BigInt(`0x${raw.subarray(0, 32).toString("hex")}`), s = BigInt(`0x${raw.subarray(32).toString("hex")}`);
    const low = s > order / 2n ? order - s : s;
    assert.ok(await key.verifies(der(part(number(r)), part(number(low))), utf8("message")));
    assert.ok(!(await key.verifies(der(part(number(r)), part(number(order - low))), utf8("message"))));
    assert.equal(Core.rawPair(der(part(`00${number(r)}`), part(number(low)))), null);
    assert.equal(Core.rawPair(der(part(number(r)), part(number(low)), part("01"))), null);
  }
  assert.equal(Core.rawPair(unhex("3003020101")), null);
});

test("base64 has one spelling", () => {
  assert.deepEqual(Core.unb64("YQ=="), utf8("a"));
  for (const other of ["YR==", "YQ", "YQ=", "Y Q==", "YQ==\n", "YQ===", "-_==", "YQ==YQ==", undefined, 5, ["YQ=="]]) refuses(() => Core.unb64(other), "base64");
});

test("a name that occurs twice in an object is refused, however it is spelt", () => {
  assert.deepEqual(Core.json(utf8('{"a":{"a":[{"a":1},"a","a"]},"b":"\\ud83d\\ude00","__proto__":1}')).a, { a: [{ a: 1 }, "a", "a"] });
  for (const twice of ['{"a":1,"a":2}', '{"a":1,"\\u0061":1}', '{"a" :1,"b":{"c":1, "c":1}}', '[{"a":1,"a":1}]', '{"x":[{"__proto__":1,"__proto__":2}]}']) refuses(() => Core.json(utf8(twice)));
  for (const wrong of ["", "[]", "null", '{"a":1,}', "\ufeff{}", '{"a":"\\ud800"}', "{\"a\":'b'}", '{"a":NaN}']) refuses(() => Core.json(utf8(wrong)));
  refuses(() => Core.json(Uint8Array.of(0x7b, 0xff, 0x7d)), "UTF-8");
  refuses(() => Core.json(utf8(`{"a":${"[".repeat(5000)}${"]".repeat(5000)}}`)), "deeply");
});

const pair = generateKeyPairSync("ed25519");
const spki = new Uint8Array(pair.publicKey.export({ type: "spki", format: "der" }));
const PAYLOAD = '{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://affidavit.example/evidence/gap/v1","predicate":{"index":3}}';
function sealed(payload = PAYLOAD) {
  const sig = sign(null, Core.pae(utf8(payload)), pair.privateKey).toString("base64");
  return `{"payloadType":"application/vnd.in-toto+json","payload":"${b64(utf8(payload))}","signatures":[{"keyid":"${hex(sha256(spki))}","sig":"${sig}"}]}`;
}

test("an envelope has one spelling, and every change of one byte is seen", async () => {
  const key = await Core.PublicKey.from(spki), good = sealed();
  const open = async (file) => { const found = Core.envelope(utf8(file)); return (await found.signedBy(key)) && Core.statement(found.payload).kind; };
  assert.equal(await open(good), "gap");
  assert.equal(hex(Core.pae(utf8("hi"))), hex(utf8("DSSEv1 28 application/vnd.in-toto+json 2 hi")));
  for (let place = 0; place < good.length; place++) {
    const other = good.slice(0, place) + String.fromCharCode(good.charCodeAt(place) ^ 1) + good.slice(place + 1);
    let found;
    try { found = await open(other); } catch (error) { assert.ok(error instanceof Core.Refused, error.stack); continue; }
    assert.equal(found, false, `byte ${place}`);
  }
  for (const other of [`${good}\n`, good.replace(":", ": "), good.replace('"payload":', '"payload":"","payload":'), good.replace('"keyid":"', '"keyid":["').replace('","sig"', '"],"sig"'), good.replace(/"signatures".*/, '"signatures":null}')]) {
    assert.throws(() => Core.envelope(utf8(other)), Core.Refused);
  }
  refuses(() => Core.statement(utf8(PAYLOAD.replace('"_type"', '"type"'))), "statement");
  refuses(() => Core.statement(utf8(PAYLOAD.replace('"subject":[]', `"subject":[{"name":"a","digest":{"sha256":["${"0".repeat(64)}"]}}]`))), "statement");
});

test("a checkpoint is three signed lines and one signature, of this log, by this key", async () => {
  const key = await Core.PublicKey.from(spki), origin = "evidence.acme.example/prod", root = b64(unhex(ROOTS[7]));
  const id = createHash("sha256").update(`${origin}\n`).update(Uint8Array.of(1)).update(key.raw).digest().subarray(0, 4);
  const made = (said, name = origin) => `${said}\n\u2014 ${name} ${Buffer.concat([id, sign(null, utf8(said), pair.privateKey)]).toString("base64")}\n`;
  const good = made(`${origin}\n8\n${root}\n`);
  assert.equal((await Core.checkpoint(utf8(good), origin, key)).size, 8);
  const wrong = [
    good.replace("\n8\n", "\n9\n"), made(`${origin}\n08\n${root}\n`), made(`${origin}\n8\n${root}\nmore\n`), made(`other\n8\n${root}\n`), made(`${origin}\n8\n${root}\n`, "other"),
    good + good.split("\n\n")[1], good.slice(0, -1), good.replace("\u2014", "-"), made(`${origin}\n8\n${root.replace("=", "")}\n`), `${good}\n`,
  ];
  for (const other of wrong) await refusesLater(() => Core.checkpoint(utf8(other), origin, key));
});

test("a list of digests is sorted, complete lines, of its own part", () => {
  const digest = "0".repeat(64), part = /^data\//;
  assert.equal(Core.parseList(utf8(`${digest}  data/a\n${digest}  data/b\n`), part).size, 2);
  for (const wrong of [`${digest}  data/b\n${digest}  data/a\n`, `${digest}  data/a\n${digest}  data/a\n`, `${digest} data/a\n`, `${digest}  data/a`, `${digest.toUpperCase()}A  data/a\n`, `${digest}  seal/a\n`, `${digest}  data/a\r\n`, "\n"]) refuses(() => Core.parseList(utf8(wrong), part));
});

test("a head is spelt in twelve words, and read from them, also when cut to four letters", async () => {
  const { readFileSync } = await import("node:fs");
  const list = readFileSync(new URL("../../../evidence_store/words.txt", import.meta.url), "utf-8").split("\n").slice(0, 2048);
  const head = `evidence.acme.example/prod\n8\n${b64(unhex(ROOTS[7]))}\n`;
  const digest = createHash("sha256").update("affidavit head 1\n").update(head).digest().subarray(0, 16), words = Core.headWords(head, list);
  assert.equal(words.length, 12);
  assert.equal(hex(Core.readWords(` ${words.join("\n").toUpperCase()} `, list)), digest.toString("hex"));
  assert.equal(hex(Core.readWords(words.map((word) => word.slice(0, 4)).join(" "), list)), digest.toString("hex"));
  refuses(() => Core.readWords(words.slice(1).join(" "), list), "11 words");
  refuses(() => Core.readWords(["zzzz", ...words.slice(1)].join(" "), list), "not in the list");
  const last = list[list.indexOf(words[11]) ^ 1];
  refuses(() => Core.readWords([...words.slice(0, 11), last].join(" "), list), "do not fit together");
});

test("a fingerprint is forgiven its spaces and capitals, nothing else", () => {
  assert.equal(Core.fingerprint(` SHA256:${"AB ".repeat(32)}`), "ab".repeat(32));
  assert.equal(Core.fingerprint(" "), "");
  for (const wrong of ["ab", "g".repeat(64), "ab".repeat(33)]) refuses(() => Core.fingerprint(wrong), "fingerprint");
});

// --- zips ---

/** A zip of these entries; each may lie about itself. */
function zipped(entries, { tail = "", count } = {}) {
  const parts = [], directory = [];
  let at = 0;
  const u = (size, value) => { const bytes = Buffer.alloc(size); bytes.writeUIntLE(value, 0, size); return bytes; };
  for (const { name, data = "", method = 8, mode = 0o100644, size, crc, local = name, flags = 0, place } of entries) {
    const raw = Buffer.from(data), packed = method ? deflateRawSync(raw) : raw;
    const facts = Buffer.concat([u(2, flags), u(2, method), u(4, 0), u(4, crc ?? Core.crc32(raw)), u(4, packed.length), u(4, size ?? raw.length)]);
    const entry = Buffer.concat([u(4, 0x04034b50), u(2, 20), facts, u(2, local.length), u(2, 0), Buffer.from(local), packed]);
    directory.push(Buffer.concat([u(4, 0x02014b50), u(2, 0x0314), u(2, 20), facts, u(2, name.length), u(2, 0), u(2, 0), u(2, 0), u(2, 0), u(4, mode * 65536), u(4, place ?? at), Buffer.from(name)]));
    parts.push(entry);
    at += entry.length;
  }
  const list = Buffer.concat(directory), number = count ?? entries.length;
  const end = Buffer.concat([u(4, 0x06054b50), u(4, 0), u(2, number), u(2, number), u(4, list.length), u(4, at), u(2, tail.length), Buffer.from(tail)]);
  return Buffer.concat([...parts, list, end]);
}
const read = async (bytes) => {
  const { items, problems } = await Core.zip(new Blob([bytes]));
  const found = {};
  for (const item of items.values()) found[item.path] = Core.text(await item.bytes());
  return { found, problems };
};

test("a zip is read, stored or deflated, with a comment or without", async () => {
  const good = [{ name: "bag/", mode: 0o040755, method: 0 }, { name: "bag/a", data: "alpha" }, { name: "bag/b/c", data: "x".repeat(9000), method: 0 }];
  for (const tail of ["", "a comment"]) assert.deepEqual(await read(zipped(good, { tail })), { found: { a: "alpha", "b/c": "x".repeat(9000) }, problems: [] });
});

test("what a zip can lie about is refused", async () => {
  const a = { name: "bag/a", data: "alpha" };
  const good = zipped([a, { name: "bag/b", data: "beta" }]);
  for (let size = 0; size < good.length; size++) await refusesLater(() => read(good.subarray(0, size)));
  const wrong = {
    "a size that is too small": [{ ...a, size: 4 }], "a size that is too large": [{ ...a, size: 6 }], "another checksum": [{ ...a, crc: 1 }],
    "a link": [{ ...a, mode: 0o120777 }], "two names": [{ ...a, local: "bag/b" }], "another method": [{ ...a, method: 12 }], "an encrypted entry": [{ ...a, flags: 1 }],
    "two top folders": [a, { name: "other/b", data: "b" }], "no top folder": [{ name: "a", data: "a" }], "a way out": [{ name: "../a", data: "a" }], "an absolute path": [{ name: "/a", data: "a" }],
    "entries that overlap": [a, { name: "bag/b", data: "alpha", place: 0 }],
  };
  for (const [what, entries] of Object.entries(wrong)) await assert.rejects(() => read(zipped(entries)), Core.Refused, what);
  await refusesLater(() => read(zipped([a], { count: 2 })));
  await refusesLater(() => read(Buffer.concat([zipped([a]), Buffer.from("tail")])));
  assert.deepEqual((await read(zipped([a, { name: "bag/A", data: "other" }]))).problems, [{ path: "A", what: "occurs twice" }]);
});

test("a zip that unpacks to far more than it is, is refused before it is unpacked, and a lying one when it reaches its size", async () => {
  const bomb = zipped([{ name: "bag/a", data: Buffer.alloc(70 * 2 ** 20), size: 10 }]);
  await refusesLater(() => read(bomb), "longer than it was listed");
  await refusesLater(() => read(zipped(Array.from({ length: 300 }, (_, place) => ({ name: `bag/${place}`, data: "a", size: 2 ** 28 })))), "more than a bundle of its size");
});

test("every change of one byte of a zip is refused, or harmless", async () => {
  const good = zipped([{ name: "bag/a", data: "alpha alpha alpha" }, { name: "bag/b", data: "beta", method: 0 }]), expected = JSON.stringify(await read(good));
  for (let place = 0; place < good.length; place++) {
    const other = Buffer.from(good);
    other[place] ^= 0x41;
    let found;
    try { found = await read(other); } catch (error) { assert.ok(error instanceof Core.Refused, `byte ${place}: ${error.stack}`); continue; }
    assert.equal(JSON.stringify(found), expected, `byte ${place}`);
  }
});

test("a time-stamp reply that is cut or changed never escapes as another error", () => {
  for (let turn = 0; turn < 2000; turn++) {
    const bytes = new Uint8Array(randomBytes(turn % 80));
    if (turn % 2) bytes.set([0x30, Math.max(0, bytes.length - 2)].slice(0, bytes.length));
    refuses(() => Core.stampOf(bytes));
  }
});
