// The picture of a slice that can be drawn on. It draws what the hand does at once and reports it; what it means is
// computed in Python, which answers each report with {kind: "seen"} and, where something changed, a new frame.
const EVERY_MS = 60; // between two parts of one stroke

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "tumortwin-canvas";
  root.tabIndex = 0;
  root.setAttribute("role", "application");
  root.setAttribute("aria-label", "slice to draw on: z undoes, shift z redoes, arrows or wheel change the slice");
  // else the notebook takes z for its own
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.style.cssText = "position:relative;width:100%;line-height:0;touch-action:none;cursor:crosshair;outline-offset:2px";
  const frame = document.createElement("canvas");
  frame.className = "tumortwin-frame";
  frame.style.cssText = "width:100%;height:auto;display:block";
  const hand = document.createElement("canvas");
  hand.style.cssText = "position:absolute;left:0;top:0;width:100%;height:100%;pointer-events:none";
  root.append(frame, hand);
  el.append(root);

  let at = null; // where the pointer is, in shares of width and height
  let path = []; // of the stroke that is being drawn
  let sent = 0; // how many of its points were reported
  let start = null; // of a box
  let stroke = 0;
  let drawing = false;
  let waiting = false; // for an answer
  let last = 0;
  let steps = 0; // of the wheel, not reported yet
  let shown = 0;

  async function show() {
    const value = model.get("frame");
    if (!value || !value.byteLength) return;
    const turn = ++shown;
    const bitmap = await createImageBitmap(new Blob([value], { type: "image/png" }));
    if (turn !== shown) return; // a newer one is on its way
    if (frame.width !== bitmap.width || frame.height !== bitmap.height) {
      [frame.width, frame.height] = [hand.width, hand.height] = [bitmap.width, bitmap.height];
    }
    frame.getContext("2d").drawImage(bitmap, 0, 0);
    frame.dataset.shown = String(turn);
    mark();
  }

  function mark() {
    const pen = hand.getContext("2d");
    const [w, h] = [hand.width, hand.height];
    const tool = (root.dataset.tool = model.get("tool"));
    const radius = model.get("brush") * w;
    pen.clearRect(0, 0, w, h);
    if (drawing && path.length && brushes()) {
      pen.globalAlpha = 0.35;
      pen.strokeStyle = tool === "erase" ? "#000000" : model.get("color");
      pen.lineWidth = Math.max(2 * radius, 2);
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(path[0][0] * w, path[0][1] * h);
      for (const [x, y] of path) pen.lineTo(x * w + 0.01, y * h);
      pen.stroke();
      pen.globalAlpha = 1;
    }
    if (!at) return;
    pen.lineWidth = 1.5;
    for (const [style, wider] of [["#000000", 1], [tool === "erase" ? "#ffffff" : model.get("color"), 0]]) {
      pen.strokeStyle = style;
      pen.beginPath();
      if (brushes()) pen.arc(at[0] * w, at[1] * h, Math.max(radius, 1.5) + wider, 0, 2 * Math.PI);
      else if (start) pen.rect(start[0] * w, start[1] * h, (at[0] - start[0]) * w, (at[1] - start[1]) * h);
      pen.stroke();
    }
  }

  const brushes = () => ["paint", "erase"].includes(model.get("tool"));

  function place(event) {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  function report(content) {
    waiting = true;
    last = performance.now();
    model.send(content);
  }

  function part(done) {
    // with the last point of the part before, so that the line has no gaps
    const points = path.slice(Math.max(sent - 1, 0));
    sent = path.length;
    report({ kind: "stroke", id: stroke, points, done });
  }

  function down(event) {
    if (event.button) return;
    root.focus({ preventScroll: true });
    root.setPointerCapture(event.pointerId);
    at = place(event);
    drawing = true;
    if (brushes()) {
      stroke += 1;
      [path, sent] = [[at], 0];
    } else start = at;
    event.preventDefault();
    mark();
  }

  function move(event) {
    at = place(event);
    if (drawing && brushes()) {
      const all = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      for (const one of all.length ? all : [event]) path.push(place(one));
      if (!waiting && performance.now() - last > EVERY_MS) part(false);
    }
    mark();
  }

  function up(event) {
    if (!drawing) return;
    at = place(event);
    if (brushes()) {
      path.push(at);
      part(true);
    } else if (event.type === "pointerup") {
      report(model.get("tool") === "box" ? { kind: "box", start, end: at } : { kind: "click", at: start });
    }
    [drawing, start] = [false, null];
    mark();
  }

  function wheel(event) {
    event.preventDefault();
    steps += Math.sign(event.deltaY);
    if (!waiting && steps) turn();
  }

  function turn() {
    const by = steps;
    steps = 0;
    report({ kind: "wheel", steps: by });
  }

  function key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const name = event.shiftKey && event.key.toLowerCase() === "z" ? "Z" : event.key;
    if (!["z", "Z", "ArrowUp", "ArrowDown", "[", "]"].includes(name)) return;
    event.preventDefault();
    event.stopPropagation();
    report({ kind: "key", key: name });
  }

  function seen(content) {
    if (content.kind !== "seen") return;
    waiting = false;
    if (steps) turn();
    else if (!drawing) path = [];
  }

  const leave = () => {
    at = null;
    mark();
  };
  root.addEventListener("pointerdown", down);
  root.addEventListener("pointermove", move);
  root.addEventListener("pointerup", up);
  root.addEventListener("pointercancel", up);
  root.addEventListener("pointerleave", leave);
  root.addEventListener("wheel", wheel, { passive: false });
  root.addEventListener("keydown", key);
  model.on("change:frame", show);
  model.on("change:tool change:brush change:color", mark);
  model.on("msg:custom", seen);
  show();
  return () => {
    model.off("change:frame", show);
    model.off("change:tool change:brush change:color", mark);
    model.off("msg:custom", seen);
  };
}

export default { render };
