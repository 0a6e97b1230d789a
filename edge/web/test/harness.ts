// For tests and timings in a browser: the library within reach of who drives it, and no page.

import { Device } from "../src/index";

Object.assign(globalThis, {
  openDevice: async (options: Parameters<Device["open"]>[0]) => {
    const device = new Device(new Worker("worker.js", { type: "module" }));
    Object.assign(globalThis, { device });
    return device.open(options);
  },
});
