// The charts of the overview: the last quarter of an hour at once, then a point every two seconds from the page's stream.
"use strict";
(() => {
  const place = document.querySelector("[data-charts]");
  if (!place || !window.uPlot) return;
  const root = document.documentElement;
  const lang = root.lang || "en";
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const short = new Intl.NumberFormat(lang, { notation: "compact", maximumFractionDigits: 1 });
  const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const exact = new Intl.DateTimeFormat(lang, { timeStyle: "medium", hourCycle: "h23" });
  const bytes = (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return `${short.format(value)} ${units[unit]}`;
  };
  const time = (ms) => (ms >= 1000 ? `${short.format(ms / 1000)} s` : ms >= 1 || ms === 0 ? `${short.format(ms)} ms` : `${short.format(ms * 1000)} µs`);
  const palette = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"];

  let data = null;
  const charts = new Map();

  // What each chart draws: labels, columns, and how its figures are written.
  const kinds = {
    ingest: () => ({ lines: [["", data.ingest]], show: (v) => short.format(v), fill: true }),
    rate: () => ({ lines: data.lines.map((line) => [line.name, line.rate]), show: (v) => short.format(v) }),
    backlog: () => ({ lines: data.lines.map((line) => [line.name, line.backlog]), show: (v) => short.format(v) }),
    took: (figure) => ({ lines: [[figure.dataset.half, data.half], [figure.dataset.most, data.most]], show: time }),
    arrival: () => ({ lines: data.lines.map((line) => [line.name, line.arrival]), show: time, dots: true }),
    memory: (figure) => ({
      // A limit that is far off would press what is used flat.
      lines: [[figure.dataset.used, data.used], ...(data.limit && Math.max(...data.used) > data.limit * 0.3 ? [[figure.dataset.limit, data.at.map(() => data.limit)]] : [])],
      show: bytes, fill: true, incrs: Array.from({ length: 45 }, (_, power) => 2 ** power),
    }),
  };

  const draw = (figure) => {
    const { lines, show, fill, dots, incrs } = kinds[figure.dataset.chart](figure);
    const columns = [data.at, ...lines.map(([, column]) => column)];
    const names = lines.map(([name]) => name).join("\n");
    const drawn = charts.get(figure);
    if (drawn && drawn.names === names) {
      drawn.plot.setData(columns);
      drawn.plot.setScale("x", range());
      legend(figure, drawn);
      return;
    }
    drawn?.plot.destroy();
    figure.querySelectorAll(".key, .uplot").forEach((old) => old.remove());
    const key = document.createElement("ul");
    key.className = "key";
    for (const [index, [name]] of lines.entries()) {
      const item = document.createElement("li");
      item.className = `line-${(index % palette.length) + 1}`;
      const label = document.createElement("span");
      label.textContent = name;
      item.append(label, document.createElement("b"));
      key.append(item);
    }
    figure.append(key);
    const ink = colour("--muted");
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `12px ${colour("--sans") || "sans-serif"}`;
    const options = {
      width: Math.max(figure.clientWidth - 2 * 16, 120),
      height: 150,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "overview" }, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true, range: () => [range().min, range().max] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.12 : 1] } },
      axes: [
        { stroke: ink, font, grid: { show: false }, ticks: { show: false }, size: 26, space: 70, values: (_, all) => all.map((at) => clock.format(at * 1000)) },
        { stroke: ink, font, grid, ticks: { show: false }, size: 58, space: 36, gap: 4, ...(incrs && { incrs }), values: (_, all) => all.map(show) },
      ],
      series: [{}, ...lines.map((_, index) => {
        const stroke = colour(palette[index % palette.length]);
        return { stroke, width: 1.6, spanGaps: Boolean(dots), points: { show: Boolean(dots), size: 4, fill: stroke },
          fill: fill && index === 0 ? `${stroke}1f` : undefined, dash: index === 1 && figure.dataset.chart === "memory" ? [6, 4] : undefined };
      })],
      hooks: { setCursor: [() => legend(figure, charts.get(figure))] },
    };
    const plot = new uPlot(options, columns, figure);
    const made = { plot, names, show, key };
    charts.set(figure, made);
    legend(figure, made);
  };

  // All of it, and two minutes at least, so that a node that has just started shows something.
  const range = () => {
    const last = data.at.at(-1) ?? Math.floor(Date.now() / 1000);
    return { min: Math.min(data.at[0] ?? last, last - 120), max: last };
  };

  // The figures beside the names: where the pointer is, else the last.
  const legend = (figure, made) => {
    if (!made) return;
    const index = made.plot.cursor.idx ?? data.at.length - 1;
    made.key.querySelectorAll("b").forEach((value, line) => {
      const number = made.plot.data[line + 1]?.[index];
      value.textContent = number == null ? "–" : made.show(number);
    });
    made.key.title = data.at[index] ? exact.format(data.at[index] * 1000) : "";
  };

  const all = () => place.querySelectorAll("[data-chart]").forEach(draw);
  const again = () => {
    for (const { plot } of charts.values()) plot.destroy();
    charts.clear();
    if (data) all();
  };
  const load = async () => {
    const answer = await fetch(place.dataset.charts, { headers: { Accept: "application/json" } });
    if (!answer.ok || answer.redirected) return;
    data = await answer.json();
    all();
  };

  // A point is one moment of every column; a destination that has come or gone is worth a fresh load.
  const take = (point) => {
    if (!data) return;
    const names = Object.keys(point.destinations);
    const known = data.lines.map((line) => line.name);
    if (names.slice(0, 24).join("\n") !== known.join("\n") || point.at - (data.at.at(-1) ?? 0) > 3 * data.step) {
      load();
      return;
    }
    const push = (column, value) => { column.push(value ?? null); if (column.length > data.points) column.shift(); };
    push(data.at, point.at);
    push(data.ingest, point.ingest);
    push(data.half, point.half_ms);
    push(data.most, point.most_ms);
    push(data.used, point.used);
    data.limit = point.limit;
    for (const line of data.lines) {
      const now = point.destinations[line.name];
      push(line.rate, now?.rate);
      push(line.backlog, now?.backlog);
      push(line.arrival, now?.arrival_ms);
    }
    if (!document.hidden) all();
  };
  place.addEventListener("htmx:sseBeforeMessage", (event) => {
    event.preventDefault();
    take(JSON.parse(event.detail.data));
  });
  document.addEventListener("theme", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let width = place.clientWidth;
  new ResizeObserver(() => { if (place.clientWidth !== width) { width = place.clientWidth; again(); } }).observe(place);
  load();
})();
