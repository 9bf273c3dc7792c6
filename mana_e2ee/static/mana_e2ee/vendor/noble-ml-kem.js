// node_modules/@noble/hashes/_u64.js
var U32_MASK64 = BigInt(4294967295), _32n = /* @__PURE__ */ BigInt(32);
function fromBig(n, le = !1) {
  return le ? { h: Number(n & U32_MASK64), l: Number(n >> _32n & U32_MASK64) } : { h: Number(n >> _32n & U32_MASK64) | 0, l: Number(n & U32_MASK64) | 0 };
}
function split(lst, le = !1) {
  let len = lst.length, Ah = new Uint32Array(len), Al = new Uint32Array(len);
  for (let i = 0; i < len; i++) {
    let { h, l } = fromBig(lst[i], le);
    [Ah[i], Al[i]] = [h, l];
  }
  return [Ah, Al];
}

// node_modules/@noble/hashes/utils.js
function isBytes(a) {
  return a instanceof Uint8Array || ArrayBuffer.isView(a) && a.constructor.name === "Uint8Array" && "BYTES_PER_ELEMENT" in a && a.BYTES_PER_ELEMENT === 1;
}
var atitle = (title) => title ? `"${title}" ` : "";
function anumber(n, title = "") {
  if (typeof n != "number")
    throw new TypeError(atitle(title) + "expected number, got " + typeof n);
  if (!Number.isSafeInteger(n) || n < 0)
    throw new RangeError(atitle(title) + "expected integer >= 0, got " + n);
  return n;
}
function abool(value, title = "") {
  if (typeof value != "boolean")
    throw new TypeError(atitle(title) + "expected boolean, got type=" + typeof value);
  return value;
}
function abytes(value, length, title = "") {
  if (isBytes(value) && (length === void 0 || value.length === length))
    return value;
  length !== void 0 && anumber(length, "length");
  let bytes = isBytes(value), ofLen = length !== void 0 ? ` of length ${length}` : "", got = bytes ? `length=${value.length}` : `type=${typeof value}`, message = atitle(title) + "expected Uint8Array" + ofLen + ", got " + got;
  throw bytes ? new RangeError(message) : new TypeError(message);
}
var aobject = (value, label) => {
  if (value === null || typeof value != "object" || Array.isArray(value))
    throw new TypeError((label === "object" ? "" : `"${label}" `) + "expected object, got type=" + typeof value);
}, aopts = (value, label) => {
  aobject(value, label);
  let proto = Object.getPrototypeOf(value);
  if (proto !== Object.prototype && proto !== null)
    throw new TypeError(`"${label}" expected plain object`);
  if (Object.hasOwn(value, "__proto__"))
    throw new TypeError(`"${label}.__proto__" is not allowed`);
};
function aexists(instance, checkFinished = !0) {
  if (instance.destroyed)
    throw new Error("hash was destroyed");
  if (checkFinished && instance.finished)
    throw new Error("digest() was already called");
}
function aoutput(out, instance) {
  abytes(out, void 0, "output");
  let min = instance.outputLen;
  if (!(out.length >= min))
    throw new RangeError('"output" expected length >= ' + min);
}
function u32(arr) {
  return new Uint32Array(arr.buffer, arr.byteOffset, Math.floor(arr.byteLength / 4));
}
function clean(...arrays) {
  for (let i = 0; i < arrays.length; i++)
    arrays[i].fill(0);
}
var isLE = new Uint8Array(new Uint32Array([287454020]).buffer)[0] === 68;
function byteSwap(word) {
  return word << 24 & 4278190080 | word << 8 & 16711680 | word >>> 8 & 65280 | word >>> 24 & 255;
}
function byteSwap32(arr) {
  for (let i = 0; i < arr.length; i++)
    arr[i] = byteSwap(arr[i]);
  return arr;
}
var swap32IfBE = isLE ? (u) => u : byteSwap32;
function checkOpts(defaults, opts2, title = "opts") {
  return aopts(defaults, "defaults"), opts2 !== void 0 && aopts(opts2, title), Object.assign(/* @__PURE__ */ Object.create(null), defaults, opts2);
}
function createHasher(hashCons, info = {}) {
  if (typeof hashCons != "function")
    throw new TypeError('"hashCons" expected function, got type=' + typeof hashCons);
  info = checkOpts({}, info, "info");
  let hashC = (msg, opts2) => hashCons(opts2).update(msg).digest(), tmp = hashCons(void 0);
  return hashC.outputLen = tmp.outputLen, hashC.blockLen = tmp.blockLen, hashC.canXOF = tmp.canXOF, hashC.create = (opts2) => hashCons(opts2), Object.assign(hashC, info), Object.freeze(hashC);
}
function randomBytes(bytesLength = 32) {
  anumber(bytesLength, "bytesLength");
  let cr = typeof globalThis == "object" ? globalThis.crypto : null;
  if (typeof cr?.getRandomValues != "function")
    throw new Error("crypto.getRandomValues must be defined");
  if (bytesLength > 65536)
    throw new RangeError(`"bytesLength" expected <= 65536, got ${bytesLength}`);
  return cr.getRandomValues(new Uint8Array(bytesLength));
}
var oidNist = (suffix) => ({
  // Current NIST hashAlgs suffixes used here fit in one DER subidentifier octet.
  // Larger suffix values would need base-128 OID encoding and a different length byte.
  oid: Uint8Array.from([6, 9, 96, 134, 72, 1, 101, 3, 4, 2, suffix])
});

// node_modules/@noble/hashes/sha3.js
var _0n = BigInt(0), _1n = BigInt(1), _2n = BigInt(2), _7n = BigInt(7), _256n = BigInt(256), _0x71n = BigInt(113), SHA3_PI = [], SHA3_ROTL = [], _SHA3_IOTA = [];
for (let round = 0, R = _1n, x = 1, y = 0; round < 24; round++) {
  [x, y] = [y, (2 * x + 3 * y) % 5], SHA3_PI.push(2 * (5 * y + x)), SHA3_ROTL.push((round + 1) * (round + 2) / 2 % 64);
  let t = _0n;
  for (let j = 0; j < 7; j++)
    R = (R << _1n ^ (R >> _7n) * _0x71n) % _256n, R & _2n && (t ^= _1n << (_1n << BigInt(j)) - _1n);
  _SHA3_IOTA.push(t);
}
var IOTAS = split(_SHA3_IOTA, !0), SHA3_IOTA_H = IOTAS[0], SHA3_IOTA_L = IOTAS[1], rotlSH = (h, l, s) => h << s | l >>> 32 - s, rotlSL = (h, l, s) => l << s | h >>> 32 - s, rotlBH = (h, l, s) => l << s - 32 | h >>> 64 - s, rotlBL = (h, l, s) => h << s - 32 | l >>> 64 - s, rotlH = (h, l, s) => s > 32 ? rotlBH(h, l, s) : rotlSH(h, l, s), rotlL = (h, l, s) => s > 32 ? rotlBL(h, l, s) : rotlSL(h, l, s), B = new Uint32Array(10);
function keccakP(s, rounds = 24) {
  if (!(s instanceof Uint32Array))
    throw new TypeError('"s" expected Uint32Array(50), got type=' + typeof s);
  if (s.length !== 50)
    throw new RangeError('"s" expected Uint32Array(50), got length=' + s.length);
  if (anumber(rounds, "rounds"), rounds < 1 || rounds > 24)
    throw new Error('"rounds" expected integer 1..24');
  for (let round = 24 - rounds; round < 24; round++) {
    for (let x = 0; x < 10; x++)
      B[x] = s[x] ^ s[x + 10] ^ s[x + 20] ^ s[x + 30] ^ s[x + 40];
    for (let x = 0; x < 10; x += 2) {
      let idx1 = (x + 8) % 10, idx0 = (x + 2) % 10, B0 = B[idx0], B1 = B[idx0 + 1], Th = rotlH(B0, B1, 1) ^ B[idx1], Tl = rotlL(B0, B1, 1) ^ B[idx1 + 1];
      for (let y = 0; y < 50; y += 10)
        s[x + y] ^= Th, s[x + y + 1] ^= Tl;
    }
    let curH = s[2], curL = s[3];
    for (let t = 0; t < 24; t++) {
      let shift = SHA3_ROTL[t], Th = rotlH(curH, curL, shift), Tl = rotlL(curH, curL, shift), PI = SHA3_PI[t];
      curH = s[PI], curL = s[PI + 1], s[PI] = Th, s[PI + 1] = Tl;
    }
    for (let y = 0; y < 50; y += 10) {
      let b0 = s[y], b1 = s[y + 1], b2 = s[y + 2], b3 = s[y + 3];
      s[y] ^= ~s[y + 2] & s[y + 4], s[y + 1] ^= ~s[y + 3] & s[y + 5], s[y + 2] ^= ~s[y + 4] & s[y + 6], s[y + 3] ^= ~s[y + 5] & s[y + 7], s[y + 4] ^= ~s[y + 6] & s[y + 8], s[y + 5] ^= ~s[y + 7] & s[y + 9], s[y + 6] ^= ~s[y + 8] & b0, s[y + 7] ^= ~s[y + 9] & b1, s[y + 8] ^= ~b0 & b2, s[y + 9] ^= ~b1 & b3;
    }
    s[0] ^= SHA3_IOTA_H[round], s[1] ^= SHA3_IOTA_L[round];
  }
  clean(B);
}
var Keccak = class _Keccak {
  state;
  pos = 0;
  posOut = 0;
  finished = !1;
  state32;
  destroyed = !1;
  blockLen;
  suffix;
  outputLen;
  canXOF;
  enableXOF = !1;
  rounds;
  // NOTE: we accept arguments in bytes instead of bits here.
  constructor(blockLen, suffix, outputLen, enableXOF = !1, rounds = 24) {
    if (anumber(blockLen, "blockLen"), anumber(suffix, "suffix"), anumber(rounds, "rounds"), abool(enableXOF, "enableXOF"), this.blockLen = blockLen, this.suffix = suffix, this.outputLen = outputLen, this.enableXOF = enableXOF, this.canXOF = enableXOF, this.rounds = rounds, anumber(outputLen, "outputLen"), !(0 < blockLen && blockLen < 200))
      throw new Error('"blockLen" must be 1..199');
    this.state = new Uint8Array(200), this.state32 = u32(this.state);
  }
  clone() {
    return this._cloneInto();
  }
  keccak() {
    swap32IfBE(this.state32), keccakP(this.state32, this.rounds), swap32IfBE(this.state32), this.posOut = 0, this.pos = 0;
  }
  update(data) {
    aexists(this), abytes(data);
    let { blockLen, state, state32 } = this, len = data.length, canUseU32 = blockLen % 4 === 0 && data.byteOffset % 4 === 0, blockLen32 = blockLen / 4, data32 = canUseU32 && len >= blockLen ? u32(data) : void 0;
    for (let pos = 0; pos < len; ) {
      if (data32 !== void 0 && this.pos === 0 && pos % 4 === 0 && len - pos >= blockLen) {
        for (let i = 0, o = pos / 4; i < blockLen32; i++)
          state32[i] ^= data32[o + i];
        pos += blockLen, this.pos = blockLen, this.keccak();
        continue;
      }
      let take = Math.min(blockLen - this.pos, len - pos);
      for (let i = 0; i < take; i++)
        state[this.pos++] ^= data[pos++];
      this.pos === blockLen && this.keccak();
    }
    return this;
  }
  finish() {
    if (this.finished)
      return;
    this.finished = !0;
    let { state, suffix, pos, blockLen } = this;
    state[pos] ^= suffix, (suffix & 128) !== 0 && pos === blockLen - 1 && this.keccak(), state[blockLen - 1] ^= 128, this.keccak();
  }
  writeInto(out) {
    aexists(this, !1), abytes(out), this.finish();
    let bufferOut = this.state, { blockLen } = this;
    for (let pos = 0, len = out.length; pos < len; ) {
      this.posOut >= blockLen && this.keccak();
      let take = Math.min(blockLen - this.posOut, len - pos);
      out.set(bufferOut.subarray(this.posOut, this.posOut + take), pos), this.posOut += take, pos += take;
    }
    return out;
  }
  xofInto(out) {
    if (!this.enableXOF)
      throw new Error("XOF is not enabled");
    return this.writeInto(out);
  }
  xof(bytes) {
    return anumber(bytes), this.xofInto(new Uint8Array(bytes));
  }
  digestInto(out) {
    if (aoutput(out, this), this.finished)
      throw new Error("digest() was already called");
    this.writeInto(out.length === this.outputLen ? out : out.subarray(0, this.outputLen)), this.destroy();
  }
  digest() {
    let out = new Uint8Array(this.outputLen);
    return this.digestInto(out), out;
  }
  destroy() {
    this.destroyed = !0, clean(this.state);
  }
  _cloneInto(to) {
    let { blockLen, suffix, outputLen, rounds, enableXOF } = this;
    return to ||= new _Keccak(blockLen, suffix, outputLen, enableXOF, rounds), to.blockLen = blockLen, to.state32.set(this.state32), to.pos = this.pos, to.posOut = this.posOut, to.finished = this.finished, to.rounds = rounds, to.suffix = suffix, to.outputLen = outputLen, to.enableXOF = enableXOF, to.canXOF = this.canXOF, to.destroyed = this.destroyed, to;
  }
}, genKeccak = (suffix, blockLen, outputLen, info = {}) => createHasher(() => new Keccak(blockLen, suffix, outputLen), info);
var sha3_256 = /* @__PURE__ */ genKeccak(
  6,
  136,
  32,
  /* @__PURE__ */ oidNist(8)
);
var sha3_512 = /* @__PURE__ */ genKeccak(
  6,
  72,
  64,
  /* @__PURE__ */ oidNist(10)
);
var genShake = (suffix, blockLen, outputLen, info = {}) => createHasher((opts2 = {}) => (opts2 = checkOpts({}, opts2), new Keccak(blockLen, suffix, opts2.dkLen === void 0 ? outputLen : opts2.dkLen, !0)), info), shake128 = /* @__PURE__ */ genShake(31, 168, 16, /* @__PURE__ */ oidNist(11)), shake256 = /* @__PURE__ */ genShake(31, 136, 32, /* @__PURE__ */ oidNist(12));

// node_modules/@noble/curves/utils.js
/*! noble-curves - MIT License (c) 2022 Paul Miller (paulmillr.com) */
function aobject2(value, title = "object") {
  if (value === null || typeof value != "object" || Array.isArray(value))
    throw new TypeError(title === "object" ? "expected valid options object" : `"${title}" expected object, got type=${typeof value}`);
  return value;
}
function validateObject(object, fields = {}, optFields = {}, title = "object") {
  aobject2(object, title), aobject2(fields, "fields"), aobject2(optFields, "optFields");
  function checkField(fieldName, expectedType, isOpt) {
    let label = title === "object" ? `param "${String(fieldName)}"` : `"${title}.${String(fieldName)}"`, val = object[fieldName];
    if (!Object.hasOwn(object, fieldName) && (isOpt ? val !== void 0 : expectedType !== "function"))
      throw new TypeError(`${label} is invalid: expected own property`);
    if (isOpt && val === void 0)
      return;
    let current = typeof val;
    if (current !== expectedType || val === null)
      throw new TypeError(`${label} is invalid: expected ${expectedType}, got ${current}`);
  }
  let iter = (f, isOpt) => Object.entries(f).forEach(([k, v]) => checkField(k, v, isOpt));
  iter(fields, !1), iter(optFields, !0);
}

// node_modules/@noble/curves/abstract/fft.js
function checkU32(n, title = "n") {
  if (typeof n != "number")
    throw new TypeError(`wrong u32 integer "${title}": expected number, got type=${typeof n}`);
  if (!Number.isSafeInteger(n) || n < 0 || n > 4294967295)
    throw new RangeError(`wrong u32 integer "${title}": expected 0..4294967295, got ${n}`);
  return n;
}
function isPowerOfTwo(x) {
  return checkU32(x, "x"), (x & x - 1) === 0 && x !== 0;
}
function reverseBits(n, bits) {
  if (checkU32(n), typeof bits != "number")
    throw new TypeError('"bits" expected number, got type=' + typeof bits);
  if (!Number.isSafeInteger(bits) || bits < 0 || bits > 32)
    throw new Error(`expected integer 0 <= bits <= 32, got ${bits}`);
  let reversed = 0;
  for (let i = 0; i < bits; i++, n >>>= 1)
    reversed = reversed << 1 | n & 1;
  return reversed >>> 0;
}
function log2(n) {
  return checkU32(n), 31 - Math.clz32(n);
}
function bitReversalInplace(values) {
  if (!values || typeof values != "object" || typeof values.length != "number")
    throw new TypeError('"values" expected array-like, got type=' + typeof values);
  let n = values.length;
  if (!isPowerOfTwo(n))
    throw new Error("expected positive power-of-two length, got " + n);
  let bits = log2(n);
  for (let i = 0; i < n; i++) {
    let j = reverseBits(i, bits);
    if (i < j) {
      let tmp = values[i];
      values[i] = values[j], values[j] = tmp;
    }
  }
  return values;
}
var FFTCore = (F2, coreOpts) => {
  validateObject(coreOpts, { N: "number", roots: "object", dit: "boolean" }, { invertButterflies: "boolean", skipStages: "number", brp: "boolean" }, "coreOpts");
  let { N: N2, roots, dit, invertButterflies = !1, skipStages = 0, brp = !0 } = coreOpts;
  checkU32(N2, "coreOpts.N");
  let bits = log2(N2);
  if (!isPowerOfTwo(N2))
    throw new Error("FFT: Polynomial size should be power of two");
  checkU32(skipStages, "coreOpts.skipStages");
  let maxSkipStages = bits === 0 ? 0 : bits - 1;
  if (skipStages > maxSkipStages)
    throw new Error(`FFT: wrong skipStages: expected 0 <= skipStages <= ${maxSkipStages}`);
  if (roots.length !== N2)
    throw new Error(`FFT: wrong roots length: expected ${N2}, got ${roots.length}`);
  let isDit = dit !== invertButterflies;
  return (values) => {
    if (values.length !== N2)
      throw new Error("FFT: wrong Polynomial length");
    dit && brp && bitReversalInplace(values);
    for (let i = 0, g = 1; i < bits - skipStages; i++) {
      let s = dit ? i + 1 + skipStages : bits - i, m = 1 << s, m2 = m >> 1, stride = N2 >> s;
      for (let k = 0; k < N2; k += m)
        for (let j = 0, grp = g++; j < m2; j++) {
          let rootPos = invertButterflies ? dit ? N2 - grp : grp : j * stride, i0 = k + j, i1 = k + j + m2, omega = roots[rootPos], b = values[i1], a = values[i0];
          if (isDit) {
            let t = F2.mul(b, omega);
            values[i0] = F2.add(a, t), values[i1] = F2.sub(a, t);
          } else invertButterflies ? (values[i0] = F2.add(b, a), values[i1] = F2.mul(F2.sub(b, a), omega)) : (values[i0] = F2.add(a, b), values[i1] = F2.mul(F2.sub(a, b), omega));
        }
    }
    return !dit && brp && bitReversalInplace(values), values;
  };
};

// node_modules/@noble/post-quantum/utils.js
/*! noble-post-quantum - MIT License (c) 2024 Paul Miller (paulmillr.com) */
var abytesDoc = abytes;
var randomBytes2 = randomBytes;
function aarray2(item, title, inner = () => {
}) {
  if (!Array.isArray(item))
    throw new TypeError(`"${title}" expected array, got type=${typeof item}`);
  for (let i = 0; i < item.length; i++)
    inner(item[i], `${title}[${i}]`);
  return item;
}
function equalBytes(a, b) {
  if (a = abytes(a), b = abytes(b), a.length !== b.length)
    return !1;
  let diff = 0;
  for (let i = 0; i < a.length; i++)
    diff |= a[i] ^ b[i];
  return diff === 0;
}
function copyBytes(bytes) {
  return new Uint8Array(abytes(bytes));
}
function splitCoder(label, ...lengths) {
  let getLength = (c) => typeof c == "number" ? c : c.bytesLen, bytesLen = lengths.reduce((sum, a) => sum + getLength(a), 0);
  return {
    bytesLen,
    encode: (bufs) => {
      let res = new Uint8Array(bytesLen);
      for (let i = 0, pos = 0; i < lengths.length; i++) {
        let c = lengths[i], l = getLength(c), b = typeof c == "number" ? bufs[i] : c.encode(bufs[i]);
        abytes(b, l, label), res.set(b, pos), typeof c != "number" && b.fill(0), pos += l;
      }
      return res;
    },
    decode: (buf) => {
      abytes(buf, bytesLen, label);
      let res = [];
      for (let c of lengths) {
        let l = getLength(c), b = buf.subarray(0, l);
        res.push(typeof c == "number" ? b : c.decode(b)), buf = buf.subarray(l);
      }
      return res;
    }
  };
}
function vecCoder(c, vecLen) {
  let coder = c, bytesLen = vecLen * coder.bytesLen;
  return {
    bytesLen,
    encode: (u) => {
      let uArr = aarray2(u, "u");
      if (uArr.length !== vecLen)
        throw new RangeError(`vecCoder.encode: wrong length=${uArr.length}. Expected: ${vecLen}`);
      let res = new Uint8Array(bytesLen);
      for (let i = 0, pos = 0; i < uArr.length; i++) {
        let b = coder.encode(uArr[i]);
        res.set(b, pos), b.fill(0), pos += b.length;
      }
      return res;
    },
    decode: (a) => {
      abytes(a, bytesLen);
      let r = [];
      for (let i = 0; i < a.length; i += coder.bytesLen)
        r.push(coder.decode(a.subarray(i, i + coder.bytesLen)));
      return r;
    }
  };
}
function cleanBytes(...list) {
  for (let t of list)
    if (Array.isArray(t))
      for (let b of t)
        b.fill(0);
    else
      t.fill(0);
}
function getMask(bits) {
  if (anumber(bits, "bits"), bits > 32)
    throw new RangeError('"bits" expected <= 32, got ' + bits);
  return bits === 32 ? 4294967295 : ~(-1 << bits) >>> 0;
}

// node_modules/@noble/post-quantum/_crystals.js
/*! noble-post-quantum - MIT License (c) 2024 Paul Miller (paulmillr.com) */
var genCrystals = (opts2) => {
  let { newPoly, N: N2, Q: Q2, F: F2, ROOT_OF_UNITY: ROOT_OF_UNITY2, brvBits, isKyber } = opts2, mod = (a, modulo = Q2) => {
    let result = a % modulo | 0;
    return (result >= 0 ? result | 0 : modulo + result | 0) | 0;
  }, smod = (a, modulo = Q2) => {
    let r = mod(a, modulo) | 0;
    return (r > modulo >> 1 ? r - modulo | 0 : r) | 0;
  };
  function getZettas() {
    let out = newPoly(N2);
    for (let i = 0; i < N2; i++) {
      let b = reverseBits(i, brvBits), p = BigInt(ROOT_OF_UNITY2) ** BigInt(b) % BigInt(Q2);
      out[i] = Number(p) | 0;
    }
    return out;
  }
  let nttZetas = getZettas(), inv = (_a) => {
    throw new Error("not implemented");
  }, field = isKyber ? {
    add: (a, b) => {
      let r = a + b | 0;
      return r >= Q2 ? r - Q2 | 0 : r;
    },
    sub: (a, b) => {
      let r = a - b | 0;
      return r < 0 ? r + Q2 | 0 : r;
    },
    mul: (a, b) => mod((a | 0) * (b | 0)) | 0,
    inv
  } : {
    add: (a, b) => mod((a | 0) + (b | 0)) | 0,
    sub: (a, b) => mod((a | 0) - (b | 0)) | 0,
    mul: (a, b) => mod((a | 0) * (b | 0)) | 0,
    inv
  }, nttOpts = {
    N: N2,
    roots: nttZetas,
    invertButterflies: !0,
    skipStages: isKyber ? 1 : 0,
    brp: !1
  }, dif = FFTCore(field, { dit: !1, ...nttOpts }), dit = FFTCore(field, { dit: !0, ...nttOpts }), NTT = {
    encode: (r) => dif(r),
    decode: (r) => {
      dit(r);
      for (let i = 0; i < r.length; i++)
        r[i] = mod(F2 * r[i]);
      return r;
    }
  };
  return {
    mod,
    smod,
    nttZetas,
    NTT: {
      encode: (r) => NTT.encode(r),
      decode: (r) => NTT.decode(r)
    },
    bitsCoder: (d, c) => {
      for (let i = 0, bufLen = 0; i < N2; i++)
        bufLen += d, bufLen > 32 && getMask(bufLen), bufLen %= 8;
      let mask = getMask(d), bytesLen = d * (N2 / 8);
      return {
        bytesLen,
        encode: (poly_) => {
          let poly = poly_, r = new Uint8Array(bytesLen);
          for (let i = 0, buf = 0, bufLen = 0, pos = 0; i < poly.length; i++)
            for (buf |= (c.encode(poly[i]) & mask) << bufLen, bufLen += d; bufLen >= 8; bufLen -= 8, buf >>= 8)
              r[pos++] = buf & 255;
          return r;
        },
        decode: (bytes) => {
          let r = newPoly(N2);
          for (let i = 0, buf = 0, bufLen = 0, pos = 0; i < bytes.length; i++)
            for (buf |= bytes[i] << bufLen, bufLen += 8; bufLen >= d; bufLen -= d, buf >>= d)
              r[pos++] = c.decode(buf & mask);
          return r;
        }
      };
    }
  };
}, createXofShake = (shake) => (seed, blockLen) => {
  blockLen || (blockLen = shake.blockLen);
  let _seed = new Uint8Array(seed.length + 2);
  _seed.set(seed);
  let seedLen = seed.length, buf = new Uint8Array(blockLen), h = shake.create({}), calls = 0, xofs = 0;
  return {
    stats: () => ({ calls, xofs }),
    get: (x, y) => (_seed[seedLen + 0] = x, _seed[seedLen + 1] = y, h.destroy(), h = shake.create({}).update(_seed), calls++, () => (xofs++, h.xofInto(buf))),
    clean: () => {
      h.destroy(), cleanBytes(buf, _seed);
    }
  };
}, XOF128 = /* @__PURE__ */ createXofShake(shake128);

// node_modules/@noble/post-quantum/ml-kem.js
/*! noble-post-quantum - MIT License (c) 2024 Paul Miller (paulmillr.com) */
var N = 256, Q = 3329, F = 3303, ROOT_OF_UNITY = 17, crystals = /* @__PURE__ */ genCrystals({
  N,
  Q,
  F,
  ROOT_OF_UNITY,
  newPoly: (n) => new Uint16Array(n),
  brvBits: 7,
  isKyber: !0
}), PARAMS = Object.freeze({
  512: Object.freeze({ N, Q, K: 2, ETA1: 3, ETA2: 2, du: 10, dv: 4, RBGstrength: 128 }),
  768: Object.freeze({ N, Q, K: 3, ETA1: 2, ETA2: 2, du: 10, dv: 4, RBGstrength: 192 }),
  1024: Object.freeze({ N, Q, K: 4, ETA1: 2, ETA2: 2, du: 11, dv: 5, RBGstrength: 256 })
}), compress = (d) => {
  if (d >= 12)
    return { encode: (i) => i, decode: (i) => i >= Q ? i - Q : i };
  let a = 2 ** (d - 1);
  return {
    // This only matches standalone Compress_d after bitsCoder masks the result into Z_(2^d).
    encode: (i) => ((i << d) + Q / 2) / Q,
    // const decompress = (i: number) => round((Q / 2 ** d) * i);
    decode: (i) => i * Q + a >>> d
  };
}, byteCoder = (d) => crystals.bitsCoder(d, d === 12 ? { encode: (i) => i, decode: (i) => i >= Q ? i - Q : i } : { encode: (i) => i, decode: (i) => i }), polyCoder = (d) => d === 12 ? byteCoder(12) : crystals.bitsCoder(d, compress(d));
function polyAdd(a_, b_) {
  let a = a_, b = b_;
  for (let i = 0; i < N; i++) {
    let r = a[i] + b[i];
    a[i] = r >= Q ? r - Q : r;
  }
}
function polySub(a_, b_) {
  let a = a_, b = b_;
  for (let i = 0; i < N; i++) {
    let r = a[i] - b[i];
    a[i] = r < 0 ? r + Q : r;
  }
}
function BaseCaseMultiply(a0, a1, b0, b1, zeta) {
  let c0 = crystals.mod(crystals.mod(a1 * b1) * zeta + a0 * b0), c1 = crystals.mod(a0 * b1 + a1 * b0);
  return { c0, c1 };
}
function MultiplyNTTs(f_, g_) {
  let f = f_, g = g_;
  for (let i = 0; i < N / 2; i++) {
    let z = crystals.nttZetas[64 + (i >> 1)];
    i & 1 && (z = -z);
    let { c0, c1 } = BaseCaseMultiply(f[2 * i + 0], f[2 * i + 1], g[2 * i + 0], g[2 * i + 1], z);
    f[2 * i + 0] = c0, f[2 * i + 1] = c1;
  }
  return f;
}
function SampleNTT(xof_) {
  let xof = xof_, r = new Uint16Array(N);
  for (let j = 0; j < N; ) {
    let b = xof();
    if (b.length % 3)
      throw new Error("SampleNTT: unaligned block");
    for (let i = 0; j < N && i + 3 <= b.length; i += 3) {
      let d1 = (b[i + 0] >> 0 | b[i + 1] << 8) & 4095, d2 = (b[i + 1] >> 4 | b[i + 2] << 4) & 4095;
      d1 < Q && (r[j++] = d1), j < N && d2 < Q && (r[j++] = d2);
    }
  }
  return r;
}
var sampleCBDBytes = (buf, eta) => {
  let r = new Uint16Array(N), b32 = u32(buf);
  swap32IfBE(b32);
  let len = 0;
  for (let i = 0, p = 0, bb = 0, t0 = 0; i < b32.length; i++) {
    let b = b32[i];
    for (let j = 0; j < 32; j++)
      bb += b & 1, b >>= 1, len += 1, len === eta ? (t0 = bb, bb = 0) : len === 2 * eta && (r[p++] = crystals.mod(t0 - bb), bb = 0, len = 0);
  }
  if (swap32IfBE(b32), len)
    throw new Error(`sampleCBD: leftover bits: ${len}`);
  return r;
};
function sampleCBD(PRF_, seed, nonce, eta) {
  return sampleCBDBytes(PRF_(eta * N / 4, seed, nonce), eta);
}
var genKPKE = (opts_) => {
  let opts2 = opts_, { K, PRF, XOF, HASH512, ETA1, ETA2, du, dv } = opts2, poly1 = polyCoder(1), polyV = polyCoder(dv), polyU = polyCoder(du), publicCoder = splitCoder("publicKey", vecCoder(polyCoder(12), K), 32), secretCoder = vecCoder(polyCoder(12), K), cipherCoder = splitCoder("ciphertext", vecCoder(polyU, K), polyV), seedCoder = splitCoder("seed", 32, 32), encryptCore = (tHat, getA, msg, seed) => {
    let rHat = [];
    for (let i = 0; i < K; i++)
      rHat.push(crystals.NTT.encode(sampleCBD(PRF, seed, i, ETA1)));
    let tmp2 = new Uint16Array(N), u = [];
    for (let i = 0; i < K; i++) {
      let e1 = sampleCBD(PRF, seed, K + i, ETA2), tmp = new Uint16Array(N);
      for (let j = 0; j < K; j++) {
        let aij = getA(i, j);
        polyAdd(tmp, MultiplyNTTs(aij, rHat[j]));
      }
      polyAdd(e1, crystals.NTT.decode(tmp)), u.push(e1), polyAdd(tmp2, MultiplyNTTs(tHat[i], rHat[i])), cleanBytes(tmp);
    }
    let e2 = sampleCBD(PRF, seed, 2 * K, ETA2);
    polyAdd(e2, crystals.NTT.decode(tmp2));
    let v = poly1.decode(msg);
    return polyAdd(v, e2), cleanBytes(tHat, rHat, tmp2, e2), cipherCoder.encode([u, v]);
  };
  return {
    secretCoder,
    lengths: {
      secretKey: secretCoder.bytesLen,
      publicKey: publicCoder.bytesLen,
      cipherText: cipherCoder.bytesLen
    },
    keygen: (seed) => {
      abytesDoc(seed, 32, "seed");
      let seedDst = new Uint8Array(33);
      seedDst.set(seed), seedDst[32] = K;
      let seedHash = HASH512(seedDst), [rho, sigma] = seedCoder.decode(seedHash), sHat = [], tHat = [];
      for (let i = 0; i < K; i++)
        sHat.push(crystals.NTT.encode(sampleCBD(PRF, sigma, i, ETA1)));
      let x = XOF(rho);
      for (let i = 0; i < K; i++) {
        let e = crystals.NTT.encode(sampleCBD(PRF, sigma, K + i, ETA1));
        for (let j = 0; j < K; j++) {
          let aji = SampleNTT(x.get(j, i));
          polyAdd(e, MultiplyNTTs(aji, sHat[j]));
        }
        tHat.push(e);
      }
      x.clean();
      let res = {
        publicKey: publicCoder.encode([tHat, rho]),
        secretKey: secretCoder.encode(sHat)
      };
      return cleanBytes(rho, sigma, sHat, tHat, seedDst, seedHash), res;
    },
    encrypt: (publicKey, msg, seed) => {
      let [tHat, rho] = publicCoder.decode(publicKey), x = XOF(rho), res = encryptCore(tHat, (i, j) => SampleNTT(x.get(i, j)), msg, seed);
      return x.clean(), res;
    },
    // Expands the full Â matrix (public data derived from rho) once, so repeated encryptions
    // against the same ek skip the K² SampleNTT XOF expansions. Cached polys are copied per
    // call because encryptCore mutates its inputs in place.
    prepare: (publicKey) => {
      let [tHat, rho] = publicCoder.decode(publicKey), x = XOF(rho), A = [];
      for (let i = 0; i < K; i++)
        for (let j = 0; j < K; j++)
          A.push(SampleNTT(x.get(i, j)));
      return x.clean(), {
        encrypt: (msg, seed) => encryptCore(tHat.map((p) => p.slice()), (i, j) => A[i * K + j].slice(), msg, seed),
        clean: () => cleanBytes(tHat, A)
      };
    },
    decrypt: (cipherText, privateKey) => {
      let [u, v] = cipherCoder.decode(cipherText), sk = secretCoder.decode(privateKey), tmp = new Uint16Array(N);
      for (let i = 0; i < K; i++)
        polyAdd(tmp, MultiplyNTTs(sk[i], crystals.NTT.encode(u[i])));
      polySub(v, crystals.NTT.decode(tmp));
      let res = poly1.encode(v);
      return cleanBytes(tmp, sk, u, v), res;
    }
  };
};
function createKyber(opts2) {
  let rawOpts = opts2, KPKE = genKPKE(rawOpts), { HASH256, HASH512, KDF } = rawOpts, { secretCoder: KPKESecretCoder, lengths } = KPKE, secretCoder = splitCoder("secretKey", lengths.secretKey, lengths.publicKey, 32, 32), msgLen = 32, seedLen = 64, validateModulus = (publicKey, fn) => {
    let eke = publicKey.subarray(0, 384 * rawOpts.K), ek = KPKESecretCoder.encode(KPKESecretCoder.decode(copyBytes(eke))), ok = equalBytes(ek, eke);
    if (cleanBytes(ek), !ok)
      throw new Error(`ML-KEM.${fn}: wrong publicKey modulus`);
  }, kemLengths = Object.freeze({
    ...lengths,
    seed: 64,
    msg: msgLen,
    msgRand: msgLen,
    secretKey: secretCoder.bytesLen
  });
  return Object.freeze({
    info: Object.freeze({ type: "ml-kem" }),
    lengths: kemLengths,
    keygen: (seed) => {
      let ownSeed = seed === void 0, s = ownSeed ? randomBytes2(seedLen) : seed, sk, publicKeyHash;
      try {
        abytesDoc(s, seedLen, "seed");
        let keys = KPKE.keygen(s.subarray(0, 32)), publicKey = keys.publicKey;
        sk = keys.secretKey, publicKeyHash = HASH256(publicKey);
        let secretKey = secretCoder.encode([sk, publicKey, publicKeyHash, s.subarray(32)]);
        return {
          publicKey,
          secretKey
        };
      } finally {
        sk !== void 0 && cleanBytes(sk), publicKeyHash !== void 0 && cleanBytes(publicKeyHash), ownSeed && cleanBytes(s);
      }
    },
    getPublicKey: (secretKey) => {
      let [_sk, publicKey, _publicKeyHash, _z] = secretCoder.decode(secretKey);
      return Uint8Array.from(publicKey);
    },
    encapsulate: (publicKey, msg) => {
      let ownMsg = msg === void 0, m = ownMsg ? randomBytes2(msgLen) : msg, kr;
      try {
        return abytesDoc(publicKey, lengths.publicKey, "publicKey"), abytesDoc(m, msgLen, "message"), validateModulus(publicKey, "encapsulate"), kr = HASH512.create().update(m).update(HASH256(publicKey)).digest(), {
          cipherText: KPKE.encrypt(publicKey, m, kr.subarray(32, 64)),
          sharedSecret: kr.subarray(0, 32)
        };
      } finally {
        kr !== void 0 && cleanBytes(kr.subarray(32)), ownMsg && cleanBytes(m);
      }
    },
    decapsulate: (cipherText, secretKey) => {
      abytesDoc(secretKey, secretCoder.bytesLen, "secretKey"), abytesDoc(cipherText, lengths.cipherText, "cipherText");
      let k768 = secretCoder.bytesLen - 96, start = k768 + 32, test = HASH256(secretKey.subarray(k768 / 2, start));
      if (!equalBytes(test, secretKey.subarray(start, start + 32)))
        throw new Error("invalid secretKey: hash check failed");
      let [sk, publicKey, publicKeyHash, z] = secretCoder.decode(secretKey), msg = KPKE.decrypt(cipherText, sk), kr = HASH512.create().update(msg).update(publicKeyHash).digest(), Khat = kr.subarray(0, 32), cipherText2 = KPKE.encrypt(publicKey, msg, kr.subarray(32, 64)), isValid = equalBytes(cipherText, cipherText2), Kbar = KDF.create({ dkLen: 32 }).update(z).update(cipherText).digest();
      return cleanBytes(msg, cipherText2, kr.subarray(32), isValid ? Kbar : Khat), isValid ? Khat : Kbar;
    },
    /**
     * Experimental prototype: pre-expand a public key so repeated encapsulate/decapsulate
     * against the same key skip re-validation, H(ek), t̂ decoding and the K² SampleNTT
     * XOF expansions of Â. Only public data is cached; see {@link KEMPrepared}.
     */
    prepare: (publicKey) => {
      abytesDoc(publicKey, lengths.publicKey, "publicKey"), validateModulus(publicKey, "prepare");
      let ek = copyBytes(publicKey), publicKeyHash = HASH256(ek), cached = KPKE.prepare(ek);
      return Object.freeze({
        publicKey: ek,
        encapsulate: (msg) => {
          let ownMsg = msg === void 0, m = ownMsg ? randomBytes2(msgLen) : msg, kr;
          try {
            return abytesDoc(m, msgLen, "message"), kr = HASH512.create().update(m).update(publicKeyHash).digest(), {
              cipherText: cached.encrypt(m, kr.subarray(32, 64)),
              sharedSecret: kr.subarray(0, 32)
            };
          } finally {
            kr !== void 0 && cleanBytes(kr.subarray(32)), ownMsg && cleanBytes(m);
          }
        },
        decapsulate: (cipherText, secretKey) => {
          abytesDoc(secretKey, secretCoder.bytesLen, "secretKey"), abytesDoc(cipherText, lengths.cipherText, "cipherText");
          let [sk, ekEmbedded, storedHash, z] = secretCoder.decode(secretKey);
          if (!equalBytes(ekEmbedded, ek) || !equalBytes(storedHash, publicKeyHash))
            throw new Error("ML-KEM.decapsulate: secretKey does not match prepared publicKey");
          let msg = KPKE.decrypt(cipherText, sk), kr = HASH512.create().update(msg).update(publicKeyHash).digest(), Khat = kr.subarray(0, 32), cipherText2 = cached.encrypt(msg, kr.subarray(32, 64)), isValid = equalBytes(cipherText, cipherText2), Kbar = KDF.create({ dkLen: 32 }).update(z).update(cipherText).digest();
          return cleanBytes(msg, cipherText2, kr.subarray(32), isValid ? Kbar : Khat), isValid ? Khat : Kbar;
        },
        clean: cached.clean
      });
    }
  });
}
function shakePRF(dkLen, key, nonce) {
  return shake256.create({ dkLen }).update(key).update(new Uint8Array([nonce])).digest();
}
var opts = {
  HASH256: sha3_256,
  HASH512: sha3_512,
  KDF: shake256,
  XOF: XOF128,
  PRF: shakePRF
}, mk = (params) => createKyber({
  ...opts,
  ...params
});
var ml_kem768 = mk(PARAMS[768]);
export {
  ml_kem768
};
