"use strict";

// Draws figures in the page's colours, at the width that there is. `room` tells how many pixels
// their layout keeps for title and legend.
const figures = (() => {
  // The colours of text and paper in a figure's JSON, and what they are called in the page.
  const colours = { "#1d1f23": "--ink", "#5d626b": "--soft", "#d9d7d0": "--rule", "#ffffff": "--sheet" };
  const drawn = new Map();

  function inPageColours(json) {
    const style = getComputedStyle(document.documentElement);
    return Object.entries(colours).reduce(
      (text, [colour, name]) => text.replaceAll(colour, style.getPropertyValue(name).trim()), json);
  }

  // A legend that wraps into more lines than there is room for gets more, above the panels.
  function makeRoom(holder) {
    const figure = drawn.get(holder);
    const legend = holder.querySelector(".legend .bg");
    const more = legend ? Math.max(0, Math.ceil(legend.getBoundingClientRect().height) - figure.room) : 0;
    if (more === figure.more) return undefined;
    figure.more = more;
    return Plotly.relayout(holder, { "margin.t": figure.top + more, height: figure.height + more });
  }

  async function draw(holder, json, room) {
    const { data, layout } = JSON.parse(inPageColours(json));
    // The page has the title as a heading, which wraps where a figure's own would be cut.
    delete layout.title;
    layout.margin.t -= room.title;
    layout.height -= room.title;
    layout.legend.y = 1;
    drawn.set(holder, { json, all: room, room: room.legend, top: layout.margin.t, height: layout.height, more: 0 });
    await Plotly.react(holder, data, layout, { responsive: true, displayModeBar: false });
    await makeRoom(holder);
  }

  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => drawn.forEach((_, holder) => makeRoom(holder)), 200);
  });

  return { draw, redraw: () => drawn.forEach(({ json, all }, holder) => draw(holder, json, all)) };
})();
