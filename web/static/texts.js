// Numbers in sentences.

/** `1 photo`, `1,200 photos` */
export function counted(number, noun) {
  return `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
}
