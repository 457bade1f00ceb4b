// A discovery handler in node.js: each file in a folder is a device, and what stands in it is a fact.
//
//     npm install
//     ASHORE_NATS_URL=nats://127.0.0.1:4222 ASHORE_NATS_SEED_FILE=handler.nk \
//         ASHORE_SITE=plant-1 ASHORE_NODE=node-7 node handler.mjs
//
// and a configuration `{"name": "tools", "handler": "folder", "details": {"folder": "/tmp/tools"}}`.
// Every step is a request over NATS; docs/how-to/write-a-handler.md says which.
import { readFileSync, watch } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect, JSONCodec, nkeyAuthenticator } from "nats";

const { ASHORE_NATS_URL, ASHORE_NATS_SEED_FILE, ASHORE_SITE, ASHORE_NODE } = process.env;
const NAME = "folder";
const HEARTBEAT_SECONDS = 2;
const MOST_BYTES = 256;
const json = JSONCodec();

const bus = await connect({
    servers: ASHORE_NATS_URL,
    authenticator: ASHORE_NATS_SEED_FILE && nkeyAuthenticator(readFileSync(ASHORE_NATS_SEED_FILE)),
    inboxPrefix: process.env.ASHORE_NATS_INBOX ?? "_INBOX",
    maxReconnectAttempts: -1,
});
const place = `${ASHORE_SITE}.${ASHORE_NODE}`;
let folders = [];
let watchers = [];
let reportTo = null;

const ask = async (subject, question) => json.decode((await bus.request(subject, json.encode(question))).data);

// The agent says what to look for: all of it, each time.
bus.subscribe(`discovery-handler.${place}.${NAME}.configure`, {
    callback: (error, message) => {
        if (error) throw error;
        message.respond(json.encode({ problem: configure(json.decode(message.data).configurations) }));
    },
});

function configure(configurations) {
    watchers.forEach((watcher) => watcher.close());
    folders = [...new Set(configurations.map((details) => String(details.folder)))];
    try {
        watchers = folders.map((folder) => watch(folder, lookAround));
    } catch (error) {
        return `the folder cannot be watched: ${error.message}`;
    }
    setImmediate(lookAround);
    return "";
}

// The agent gets whole lists, and finds out itself what has come and what is gone. One look at a time: the second
// begins when the first is told.
let looking = Promise.resolve();
function lookAround() {
    looking = looking.then(tellAll).catch((error) => console.error(error.message));
    return looking;
}

async function tellAll() {
    if (reportTo === null) return;
    const begun = performance.now();
    const sightings = (await Promise.all(folders.map(filesOf))).flat().slice(0, 100);
    await tell({ sightings, complete: true, looked_for: (performance.now() - begun) / 1000 });
}

async function filesOf(folder) {
    const names = (await readdir(folder)).map((name) => join(folder, name));
    const texts = await Promise.all(names.map((name) => readFile(name, "utf8").catch(() => null)));
    return names.flatMap((name, at) =>
        texts[at] === null ? [] : [{ id: name, facts: { file: name, text: texts[at].slice(0, MOST_BYTES).trim() } }],
    );
}

async function register() {
    const about = { name: NAME, exhaustive: true, heartbeat_seconds: HEARTBEAT_SECONDS };
    const welcome = await ask(`discovery-agent.${place}.register`, about);
    if (!welcome.accepted) throw new Error(welcome.reason);
    reportTo = welcome.report;
}

// An agent that was restarted knows nobody: whoever gets no answer registers anew.
async function tell(report) {
    try {
        const receipt = await ask(reportTo, report);
        if (receipt.problem) console.error(receipt.problem);
    } catch {
        reportTo = null;
    }
}

setInterval(async () => {
    try {
        await (reportTo === null ? register() : tell({}));
    } catch (error) {
        console.error(`no agent takes us: ${error.message}`);
    }
}, (HEARTBEAT_SECONDS * 1000) / 2);
