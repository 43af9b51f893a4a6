// What a reader sees, as numbers: {problems: [...], texts: n, width, innerWidth, page}.
// arguments[0]: whether places are checked too, or sizes and colours only.
const places = arguments[0];
const problems = [];
const root = document.querySelector('.ablate');

// -- text boxes: one for each line of each text node, cut where its scrolling frame cuts it
const boxes = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, element = node.parentElement;
  if (!node.nodeValue.trim() || element.closest('style, title')) continue;
  if (!element.checkVisibility()) continue;  // folded
  const range = document.createRange();
  range.selectNodeContents(node);
  const frame = element.closest('.scroll')?.getBoundingClientRect();
  for (const rect of range.getClientRects()) {
    let {left, right, top, bottom} = rect;
    if (frame) { left = Math.max(left, frame.left); right = Math.min(right, frame.right); }
    if (right - left < 1 || bottom - top < 1) continue;
    boxes.push({left, right, top, bottom, element, text: node.nodeValue.trim().slice(0, 40),
                framed: !!frame, sticky: frame && element.closest('th') !== null});
  }
}
for (const box of places ? boxes : []) {
  if (box.right > innerWidth + 0.5 || box.left < -0.5) problems.push(`off the page: ${box.text}`);
}
boxes.sort((a, b) => a.top - b.top);
for (let i = 0; places && i < boxes.length; i++) {
  for (let j = i + 1; j < boxes.length && boxes[j].top < boxes[i].bottom - 3; j++) {
    const a = boxes[i], b = boxes[j];
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (across > 1 && down > 3) problems.push(`overlap: ${a.text} / ${b.text}`);
  }
}

// -- text of a drawing that the drawing's own frame, or one around it, would cut
for (const text of places ? document.querySelectorAll('svg text') : []) {
  if (!text.checkVisibility()) continue;
  const rect = text.getBoundingClientRect();
  for (let up = text.parentElement; up && up !== root; up = up.parentElement) {
    if (up.classList.contains('scroll') || !rect.width) break;
    if (getComputedStyle(up).overflow === 'visible') continue;
    const frame = up.getBoundingClientRect();
    if (rect.left < frame.left - 1 || rect.right > frame.right + 1 ||
        rect.top < frame.top - 3 || rect.bottom > frame.bottom + 3)
      problems.push(`cut: ${text.textContent} in ${up.tagName} ${up.getAttribute('class')}`);
  }
}

// -- sizes and contrast
const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const rgba = text => (text.match(/[\d.]+/g) || []).map(Number);
const behind = element => {
  for (let up = element; up; up = up.parentElement) {
    const found = rgba(getComputedStyle(up).backgroundColor);
    if (found.length === 3 || found[3] === 1) return found;
  }
  return [255, 255, 255];
};
const seen = new Set();
for (const {element, text} of boxes) {
  if (seen.has(element)) continue;
  seen.add(element);
  const style = getComputedStyle(element), size = parseFloat(style.fontSize);
  if (size < 11) problems.push(`${size} px: ${text}`);
  const colour = rgba(element.closest('svg') ? style.fill : style.color);
  const [a, b] = [light(colour), light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) problems.push(`contrast ${ratio.toFixed(2)}: ${text}`);
}
for (const mark of document.querySelectorAll('.sign, .thick, .thin, .mean, .bar.gain, .bar.loss')) {
  if (!mark.checkVisibility()) continue;
  const style = getComputedStyle(mark);
  const colour = rgba(style.stroke === 'none' ? style.fill : style.stroke);
  const [a, b] = [light(colour), light(behind(mark))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 3) problems.push(`contrast of a mark: ${mark.getAttribute('class')}`);
}

return {
  problems: problems.slice(0, 40), texts: boxes.length,
  width: document.documentElement.scrollWidth, innerWidth,
  page: getComputedStyle(document.body).backgroundColor,
};
