"use strict";
// Numbers as `formats.py` writes them: halves to even, where a half is exact. Knows no page.

const NONE = "\u2013";

function fixed(value, digits) {
  const half = value * 2 ** (digits + 1);
  const scaled = value * 10 ** digits;
  if (half % 1 !== 0 || Math.abs(scaled % 1) !== 0.5) return value.toFixed(digits);
  return ((2 * Math.round(scaled / 2)) / 10 ** digits).toFixed(digits);
}

function threeDigits(value) {
  if (value === 0) return "0";
  const place = (one) => Math.max(0, 2 - Math.floor(Math.log10(Math.abs(one))));
  const rounded = Math.abs(value) < 1000 ? Number(fixed(value, place(value))) : Number(value.toPrecision(3));
  return fixed(rounded, place(rounded));
}

const percent = (share) => `${fixed(100 * share, 1)}%`.replace("-", "\u2212");

function seconds(value) {
  if (value >= 1 || value === 0) return `${threeDigits(value)} s`;
  return value >= 1e-3 ? `${threeDigits(1e3 * value)} ms` : `${threeDigits(1e6 * value)} \u00b5s`;
}

function count(value) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let power = 0;
  for (; value >= 999.5 && power < prefixes.length - 1; power++) value /= 1000;
  return `${threeDigits(value)} ${prefixes[power]}`.trimEnd();
}

function bytes(value) {
  const counted = count(value);
  return /[a-z]$/i.test(counted) ? `${counted}B` : `${counted} B`;
}
