// The marks of the labels: each label has a colour and a shape, so that colour is not the only cue.

const GOLDEN_ANGLE = 137.508; // degrees: the hues of consecutive labels are far apart, however many there are
const HUES = 12; // labels in a row with the same shape
const START = 25;
const LIGHTNESS = { light: [0.55, 0.66, 0.43], dark: [0.72, 0.85, 0.61] }; // contrast of at least 3 with the ground
const CHROMA = 0.15;

/** Paths around (0, 0) with about the same area, as in SVG. */
export const SHAPES = [
  "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0Z", // circle
  "M-.9-.9h1.8v1.8h-1.8Z", // square
  "M0-1.25 1.18.85h-2.36Z", // triangle
  "M0-1.28 1.28 0 0 1.28-1.28 0Z", // diamond
];

/** The marks of `count` labels, followed by that of all others, which is grey. */
export function marks(count, isDark) {
  const lightness = LIGHTNESS[isDark ? "dark" : "light"];
  const own = Array.from({ length: count }, (_, at) => ({
    colour: `oklch(${lightness[at % lightness.length]} ${CHROMA} ${((START + at * GOLDEN_ANGLE) % 360).toFixed(1)})`,
    shape: Math.floor(at / HUES) % SHAPES.length,
  }));
  return [...own, { colour: isDark ? "#8a8680" : "#8a847b", shape: 0 }];
}
