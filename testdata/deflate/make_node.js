// Compresses standard input with node's zlib: ten bytes, the stream, and eight bytes.
// Usage: node make_node.js LEVEL MEM_LEVEL
const zlib = require("zlib");
const [level, memLevel] = process.argv.slice(2).map(Number);
const plain = require("fs").readFileSync(0);
const stream = zlib.deflateRawSync(plain, { level, memLevel });
process.stdout.write(Buffer.concat([Buffer.alloc(10), stream, Buffer.alloc(8)]));
