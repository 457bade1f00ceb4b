// node-opcua's local discovery server: `node opcua_lds.mjs FOLDER_OF_NODE_MODULES FOLDER_FOR_KEYS PORT`.
// It prints `ready` when it listens. Servers of the tests have no certificates, so it takes them without.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [modules, keys, port] = process.argv.slice(2);
const require = createRequire(modules + "/");
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { OPCUADiscoveryServer } = await load("node-opcua-server-discovery");
const { OPCUACertificateManager } = await load("node-opcua-certificate-manager");

const serverCertificateManager = new OPCUACertificateManager({
    rootFolder: keys,
    automaticallyAcceptUnknownCertificate: true,
});
await serverCertificateManager.initialize();
const server = new OPCUADiscoveryServer({
    port: Number(port),
    serverCertificateManager,
    allowUnsecuredRegistration: true,
});
await server.start();
console.log("ready");
process.on("SIGTERM", async () => {
    await server.shutdown(0);
    process.exit(0);
});
