// Runs socket.io-client for a test: orders come as lines of JSON on standard input, what happens goes as lines of
// JSON to standard output. One process drives any number of clients, each known by a number.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const clients = new Map();
const tell = (message) => process.stdout.write(JSON.stringify(message) + "\n");

const orders = {
  connect({ client, url, transports, reconnection }) {
    const socket = io(url, { transports, reconnection, forceNew: true, reconnectionDelay: 50 });
    clients.set(client, socket);
    socket.onAny((event, ...given) => tell({ client, event, arguments: given }));
    socket.on("disconnect", (reason) => tell({ client, gone: reason }));
    return new Promise((resolve, reject) => {
      socket.on("connect", () => {
        tell({ client, connected: socket.io.engine.transport.name });
        // With both transports the test begins when the better one is in use.
        if (transports.length > 1 && socket.io.engine.transport.name !== "websocket") {
          socket.io.engine.once("upgrade", () => resolve());
        } else {
          resolve();
        }
      });
      socket.on("connect_error", (error) => reject(error));
    });
  },
  ask({ client, event, arguments: given }) {
    return new Promise((resolve) => clients.get(client).emit(event, ...given, (...answer) => resolve(answer)));
  },
  send({ client, event, arguments: given }) {
    clients.get(client).emit(event, ...given);
  },
  close({ client }) {
    clients.get(client).disconnect();
  },
  // The connection is lost without a farewell; of long polling nothing but silence is left then.
  cut({ client }) {
    const { transport } = clients.get(client).io.engine;
    if (transport.name === "websocket") {
      transport.ws.terminate();
    } else {
      transport.doPoll = () => {};
      transport.doWrite = () => {};
      tell({ client, gone: "silence" });
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  Promise.resolve()
    .then(() => orders[order.do](order))
    .then(
      (value) => tell({ call: order.call, value: value ?? null }),
      (error) => tell({ call: order.call, error: String(error) }),
    );
}
process.exit(0);
