// What every explorable uses. `root` is its figure; it has one set of colours, safe for the colour-blind.
const BLUE = "#0072b2", ORANGE = "#e69f00", GREEN = "#009e73", VERMILION = "#d55e00", PURPLE = "#cc79a7", SKY = "#56b4e9";

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// An SVG element with these attributes, `text` among them, at the end of `parent`.
function draw(parent, tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else element.setAttribute(name, typeof value === "number" ? Number(value.toFixed(3)) : value);
  }
  parent.append(element);
  return element;
}

function grey(value) {
  const level = Math.round(255 * clamp(value, 0, 1));
  return `rgb(${level},${level},${level})`;
}

// An image, rows of values from 0 to 1, with pixel (0, 0) centred at (0, 0) and pixels of size 1.
function drawImage(parent, image, attributes = {}) {
  const canvas = document.createElement("canvas");
  const [height, width] = [image.length, image[0].length];
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  image.forEach((row, y) => row.forEach((value, x) => {
    context.fillStyle = grey(value);
    context.fillRect(x, y, 1, 1);
  }));
  return draw(parent, "image", {
    x: -0.5, y: -0.5, width, height, href: canvas.toDataURL(), preserveAspectRatio: "none",
    style: "image-rendering: pixelated", ...attributes,
  });
}

// An image in place of those that `parent` holds. They stay until it is there: no flicker.
function repaint(parent, image) {
  const old = [...parent.children];
  drawImage(parent, image).addEventListener("load", () => old.forEach((each) => each.remove()));
}

// The value between pixels, zero outside, and its two slopes: those of the cell to the right and below.
function sample(image, y, x) {
  const top = Math.floor(y), left = Math.floor(x), fy = y - top, fx = x - left;
  const at = (i, j) => (image[i] && image[i][j]) || 0;
  const a = at(top, left), b = at(top, left + 1), c = at(top + 1, left), d = at(top + 1, left + 1);
  return {
    value: (1 - fy) * ((1 - fx) * a + fx * b) + fy * ((1 - fx) * c + fx * d),
    byY: (1 - fx) * (c - a) + fx * (d - b),
    byX: (1 - fy) * (b - a) + fy * (d - c),
    weights: [(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx],
    corners: [a, b, c, d],
  };
}

// Connects an <input type="range"> and the <output> beside it with a function of its value.
function slider(input, digits, change) {
  const output = input.parentElement.querySelector("output");
  const update = () => {
    if (output) output.textContent = Number(input.value).toFixed(digits);
    change(Number(input.value));
  };
  input.addEventListener("input", update);
  return (value) => {
    input.value = value;
    if (output) output.textContent = Number(value).toFixed(digits);
  };
}

// Lets mouse, touch and arrow keys move `element`: `move(y, x)` gets the place in the SVG's own units, `place()` tells
// where it is. The keys go by `step`, ten times as far with Shift.
function draggable(svg, element, place, move, step = 0.05) {
  element.classList.add("handle");
  element.setAttribute("tabindex", "0");
  const frame = element.parentElement;
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    element.focus();
    event.preventDefault();
  });
  // Beside it a finger scrolls the page; on it, it does not.
  element.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
  element.addEventListener("pointermove", (event) => {
    if (!element.hasPointerCapture(event.pointerId)) return;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(frame.getScreenCTM().inverse());
    move(point.y, point.x);
  });
  element.addEventListener("keydown", (event) => {
    const ways = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    const far = event.shiftKey ? 10 * step : step;
    const [y, x] = place();
    move(y + way[0] * far, x + way[1] * far);
  });
}

// One of several: a radio button in `parent`, which lies in a form of its own.
function choice(parent, text, chosen, choose) {
  const label = document.createElement("label"), radio = document.createElement("input");
  Object.assign(radio, { type: "radio", name: parent.getAttribute("aria-label"), checked: chosen });
  radio.addEventListener("change", choose);
  label.append(radio, text);
  parent.append(label);
}

// Numbers as `book/explorable_data.py` packs them: bytes, each `step` above `from`.
function unpack({ from, step, bytes }) {
  return Array.from(atob(bytes), (byte) => from + step * byte.charCodeAt(0));
}

// `values` cut into pieces of `size`: the rows of an image, the (y, x) of points.
function cut(values, size) {
  return Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
}

// How far points lie from their mean: the standard deviation along an axis, mean of both axes.
function spread(points) {
  const deviation = (axis) => {
    const mean = points.reduce((sum, point) => sum + point[axis], 0) / points.length;
    return Math.sqrt(points.reduce((sum, point) => sum + (point[axis] - mean) ** 2, 0) / points.length);
  };
  return (deviation(0) + deviation(1)) / 2;
}

// A picture on a dark ground whose pixels change without flicker: a path for each of 16 levels. Returns what paints it.
function darkPicture(parent) {
  const levels = Array.from({ length: 15 }, (_, i) =>
    draw(parent, "path", { stroke: "#e8ecf4", "stroke-opacity": 0.65 * (i + 1) / 15, "shape-rendering": "crispEdges" }));
  return (image) => {
    const paths = levels.map(() => "");
    image.forEach((row, y) => row.forEach((value, x) => {
      const level = Math.round(15 * value);
      if (level) paths[level - 1] += `M${x - 0.5} ${y}h1`;
    }));
    levels.forEach((level, i) => level.setAttribute("d", paths[i]));
  };
}

// Points as light, brighter where many meet: nine groups over one another, soft below and sharp above `middle`, which
// is drawn between them. Returns what paints them.
function lights(parent, colour, middle) {
  const layer = (attributes) => {
    const group = draw(parent, "g", { stroke: colour, "stroke-linecap": "round", fill: "none", ...attributes });
    return Array.from({ length: 9 }, () => draw(group, "path"));
  };
  const halos = layer({ "stroke-width": 1.9, "stroke-opacity": 0.16, style: "filter: blur(0.55px)" });
  middle();
  const cores = layer({ "stroke-opacity": 0.85 });
  return (points) => {
    const size = points.length / 9;
    cores[0].parentElement.setAttribute("stroke-width", (0.4 * (729 / points.length) ** 0.18).toFixed(2));
    halos.forEach((halo, i) => {
      const d = points.slice(i * size, (i + 1) * size).map(([y, x]) => `M${x.toFixed(1)} ${y.toFixed(1)}h0`).join("");
      halo.setAttribute("d", d);
      cores[i].setAttribute("d", d);
    });
  };
}

// The marker of a curve, by matplotlib's name for it, at (x, y).
function marker(parent, kind, x, y, colour) {
  const shapes = {
    s: "M-4 -4h8v8h-8z", D: "M0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z", o: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "^": "M0 -5.5l5 9h-10z", v: "M0 5.5l5 -9h-10z",
    P: "M-1.8 -5.5h3.6v3.7h3.7v3.6h-3.7v3.7h-3.6v-3.7h-3.7v-3.6h3.7z",
    X: "M-5 -2.6l2.4 -2.4l2.6 2.6l2.6 -2.6l2.4 2.4l-2.6 2.6l2.6 2.6l-2.4 2.4l-2.6 -2.6l-2.6 2.6l-2.4 -2.4l2.6 -2.6z",
  };
  return draw(parent, "path", { d: shapes[kind], transform: `translate(${x.toFixed(2)} ${y.toFixed(2)})`, fill: colour });
}

const DASHES = { "-": "none", "--": "8 4", "-.": "9 3 2 3", ":": "2 3" };

// A curve through these places with a marker on each, or on those at `marked`; its look by matplotlib's names.
function line(parent, xs, ys, { colour, dashes, marker: kind }, marked = xs) {
  draw(parent, "path", {
    d: `M${xs.map((x, k) => `${x.toFixed(1)} ${ys[k].toFixed(1)}`).join("L")}`,
    fill: "none", stroke: colour, "stroke-width": 2.5, "stroke-dasharray": DASHES[dashes],
  });
  marked.forEach((x) => marker(parent, kind, x, ys[xs.indexOf(x)], colour));
}
