// The job of meters.py by node's modbus-serial: a client for each device, all asked at once, DataView for the values.
// By its calls with a callback: those with a promise cost a quarter more.
// Usage: node --expose-gc modbus_serial.js TICKS PERIOD_MS < "ip port unit" lines.
"use strict";
const fs = require("fs");
const net = require("net");
const ModbusRTU = require("modbus-serial");

const [FIRST, COUNT, FLOATS, COUNTERS] = [0x4000, 90, 36, 9];
const WARM_UP = 5000; // requests, until what runs is compiled
const [ticks, periodMs] = process.argv.slice(2).map(Number);
const meters = fs.readFileSync(0, "utf8").trim().split("\n").map((line) => line.split(" "));
const columns = Array.from({ length: FLOATS + COUNTERS }, () => new Float64Array(meters.length));
const quality = columns.map(() => new Uint8Array(meters.length));
const received = new Float64Array(meters.length);
const units = meters.map(([, , unit]) => Number(unit));
const clients = [];
let unanswered = 0;

const cpuUs = () => { const used = process.cpuUsage(); return used.user + used.system; };
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, Math.max(ms, 0)); });

function decode(buffer, row) {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    for (let c = 0; c < FLOATS; c++) columns[c][row] = view.getFloat32(4 * c);
    for (let c = FLOATS; c < FLOATS + COUNTERS; c++) columns[c][row] = view.getUint32(4 * c) / 10;
    for (let c = 0; c < FLOATS + COUNTERS; c++) quality[c][row] = 0;
    received[row] = performance.now();
}

const read = (row) => new Promise((resolve) => {
    clients[row].writeFC3(units[row], FIRST, COUNT, (error, reply) => {
        if (error) {
            unanswered++;
            for (const column of quality) column[row] = 1;
        } else decode(reply.buffer, row);
        resolve();
    });
});

const readAll = () => Promise.all(clients.map((_, row) => read(row)));

function readPlainly([ip, port, unit]) {
    return new Promise((resolve) => {
        const socket = net.connect(Number(port), ip, () => {
            socket.write(Buffer.from([0, 1, 0, 0, 0, 6, Number(unit), 3, FIRST >> 8, FIRST & 255, 0, COUNT]));
        });
        let reply = Buffer.alloc(0);
        socket.on("data", (data) => {
            reply = Buffer.concat([reply, data]);
            if (reply.length === 9 + 2 * COUNT) { socket.destroy(); resolve(reply.subarray(9)); }
        });
    });
}

async function isRight(row) {
    for (let tries = 0; tries < 40; tries++) {
        await read(row);
        const got = columns.map((column) => column[row]);
        decode(await readPlainly(meters[row]), row);
        if (got.every((value, c) => value === columns[c][row])) return true;
    }
    return false;
}

async function main() {
    const [usedUs, begunMs] = [cpuUs(), performance.now()];
    for (const [ip, port] of meters) {
        const client = new ModbusRTU();
        await client.connectTCP(ip, { port: Number(port) });
        client.setTimeout(30000);
        clients.push(client);
    }
    const [connectUs, upMs] = [(cpuUs() - usedUs) / meters.length, performance.now() - begunMs];
    for (let asked = 0; asked < WARM_UP; asked += meters.length) await readAll();
    unanswered = 0;
    const [beforeUs, times] = [cpuUs(), []];
    const begin = performance.now();
    for (let tick = 1; tick < ticks; tick++) {
        const due = begin + tick * periodMs;
        await sleep(due - performance.now());
        await readAll();
        times.push((performance.now() - due) * 1000);
    }
    const cost = (cpuUs() - beforeUs) / ((ticks - 1) * meters.length);
    global.gc();
    const said = { unanswered, connect_us: connectUs, up_s: upMs / 1000, resident: process.memoryUsage().rss };
    console.log(JSON.stringify({ cost, right: await isRight(meters.length - 1), times, said }));
    process.exit(0);
}

main();
