(() => {
'use strict';
const $ = id => document.getElementById(id);
const data = JSON.parse($('data').textContent);
const human = n => {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let at = 0;
  while (n >= 999.5 && at < 5) { n /= 1000; at++; }
  return (at === 0 ? String(n) : n.toPrecision(3)) + ' ' + units[at];
};

// The picture: a tree of bytes as nested rectangles.
const SVG = 'http://www.w3.org/2000/svg';
const make = (name, attributes, parent) => {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (parent) parent.appendChild(node);
  return node;
};
const branch = name => ({ name, bytes: 0, parts: new Map(), kind: '', path: '' });
const add = (tree, names, bytes, kind, path) => {
  let node = tree;
  node.bytes += bytes;
  for (const name of names) {
    let next = node.parts.get(name);
    if (!next) { next = branch(name); next.up = node; node.parts.set(name, next); }
    node = next;
    node.bytes += bytes;
  }
  node.kind = kind;
  node.path = path;
};
// A directory with one directory in it is one rectangle.
const folded = node => {
  let only = node;
  const names = [node.name];
  while (only.parts.size === 1 && !only.kind) {
    const next = only.parts.values().next().value;
    if (next.parts.size === 0) break;
    only = next;
    names.push(only.name);
  }
  return { node: only, name: names.join('/') };
};
const tree = view => {
  const top = branch('everything');
  if (view === 'packages') {
    for (const [ecosystem, name, version, bytes] of data.packages) {
      add(top, [ecosystem, version ? name + ' ' + version : name], bytes, 'package', '');
    }
    return top;
  }
  const lead = layer => view === 'layers' ? ['layer ' + (layer + 1)] : [];
  for (const [path, bytes, layer, kind] of data.files) {
    add(top, lead(layer).concat(path.split('/').filter(Boolean)), bytes, kind, path);
  }
  for (const [name, bytes, layer] of data.rest) {
    const names = view === 'layers' ? ['layer ' + (layer + 1), name] : [name, 'layer ' + (layer + 1)];
    add(top, names, bytes, 'rest', '');
  }
  if (data.omitted > 0) add(top, ['smaller files'], data.omitted, 'rest', '');
  return top;
};
// Rows whose rectangles are as square as possible, the largest first.
const squares = (parts, x, y, w, h) => {
  const placed = [];
  let left = parts.reduce((sum, part) => sum + part.bytes, 0);
  let at = 0;
  while (at < parts.length && w > 0 && h > 0 && left > 0) {
    const short = Math.min(w, h), scale = w * h / left;
    let row = [], sum = 0, worst = Infinity;
    while (at < parts.length) {
      const bytes = parts[at].bytes;
      const total = sum + bytes, side = total * scale / short;
      const largest = Math.max(bytes, row.length ? row[0].bytes : 0) * scale / side;
      const smallest = bytes * scale / side;
      const ratio = Math.max(side / smallest, largest / side);
      if (row.length && ratio > worst) break;
      worst = ratio;
      row.push(parts[at++]);
      sum = total;
    }
    const side = sum * scale / short;
    let offset = 0;
    for (const part of row) {
      const length = part.bytes / sum * short;
      placed.push(w >= h ? [part, x, y + offset, side, length] : [part, x + offset, y, length, side]);
      offset += length;
    }
    if (w >= h) { x += side; w -= side; } else { y += side; h -= side; }
    left -= sum;
  }
  return placed;
};
let view = 'layers', place = null, wanted = '', drawn = 0;
const sorted = node => [...node.parts.values()].filter(p => p.bytes > 0).sort((a, b) => b.bytes - a.bytes || (a.name < b.name ? -1 : 1));
const label = (parent, text, x, y, w) => {
  const chars = Math.floor((w - 8) / 6.3);
  if (chars < 3) return;
  const shown = text.length > chars ? text.slice(0, chars - 1) + '…' : text;
  make('text', { x: x + 5, y: y + 12 }, parent).textContent = shown;
};
const zoomed = (target, group) => {
  group.addEventListener('click', event => { event.stopPropagation(); place = target; draw(); });
  group.addEventListener('keydown', event => {
    if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); event.stopPropagation(); place = target; draw(); $('trail').lastChild.focus?.(); }
  });
};
const rectangle = (parent, part, x, y, w, h, depth) => {
  if (w < 1.5 || h < 1.5 || drawn > 4000) return;
  drawn++;
  const { node, name } = folded(part);
  const isLeaf = node.parts.size === 0;
  const text = name + ', ' + human(node.bytes);
  const group = make('g', isLeaf ? { class: 'leaf' } : { tabindex: depth === 0 ? 0 : -1, role: 'button', 'aria-label': 'Zoom into ' + text }, parent);
  make('title', {}, group).textContent = (node.path || name) + '\n' + human(node.bytes) + (node.kind ? ', ' + node.kind : '');
  const kind = isLeaf ? node.kind : 'group';
  const dim = isLeaf && wanted && !(node.path || name).toLowerCase().includes(wanted) ? ' dim' : '';
  make('rect', { x, y, width: Math.max(w - 1, .5), height: Math.max(h - 1, .5), class: kind + dim }, group);
  if (isLeaf) {
    if (h > 16) label(group, name, x, y, w);
    if (h > 32 && w > 60) label(group, human(node.bytes), x, y + 14, w);
    return;
  }
  zoomed(node, group);
  const head = h > 34 && w > 44 ? 17 : 2;
  if (head > 2) label(group, text, x, y, w);
  for (const [inner, ...box] of squares(sorted(node), x + 2, y + head, w - 5, h - head - 3)) rectangle(group, inner, ...box, depth + 1);
};
const trail = () => {
  const nav = $('trail');
  nav.textContent = '';
  const nodes = [];
  for (let node = place; node; node = node.up) nodes.unshift(node);
  nodes.forEach((node, at) => {
    if (at) nav.append(' / ');
    if (at === nodes.length - 1) {
      const here = document.createElement('b');
      here.textContent = node.name;
      nav.append(here, ' ' + human(node.bytes));
      return;
    }
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = node.name;
    button.addEventListener('click', () => { place = node; draw(); });
    nav.append(button);
  });
};
const draw = () => {
  const map = $('map');
  const width = Math.max(map.clientWidth, 200);
  const height = Math.round(Math.min(Math.max(width * .56, 260), 520));
  drawn = 0;
  const svg = make('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'group', 'aria-label': 'Bytes by ' + view });
  for (const [part, ...box] of squares(sorted(place), 0, 0, width, height)) rectangle(svg, part, ...box, 0);
  map.replaceChildren(svg);
  trail();
};
const legend = () => {
  const words = { patched: 'patched', literal: 'new', opened: 'archive', rest: 'headers, compression', added: 'added', modified: 'modified', type: 'other type', package: '' };
  const kinds = view === 'packages' ? [] : [...new Set(data.files.map(file => file[3]).concat(data.rest.length ? ['rest'] : []))];
  $('legend').replaceChildren(...kinds.filter(kind => words[kind]).map(kind => {
    const item = document.createElement('span'), box = document.createElement('i');
    box.className = kind;
    item.append(box, words[kind]);
    return item;
  }));
};
const start = () => {
  for (const button of document.querySelectorAll('[data-view]')) {
    if (button.dataset.view === 'packages' && !data.packages.length) { button.hidden = true; continue; }
    button.addEventListener('click', () => {
      view = button.dataset.view;
      for (const other of document.querySelectorAll('[data-view]')) other.setAttribute('aria-pressed', other === button);
      place = tree(view);
      legend();
      draw();
    });
  }
  place = tree(view);
  legend();
  draw();
  let width = innerWidth;
  addEventListener('resize', () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
};
if (data.files && (data.files.length || data.packages.length || data.rest.length)) {
  $('bytes').hidden = false;
  start();
}

// The files: search, and rows that are hidden at first.
const rows = [...document.querySelectorAll('.file')];
const more = $('more'), find = $('find');
let isWhole = false;
const filter = () => {
  wanted = find.value.trim().toLowerCase();
  let count = 0;
  rows.forEach((row, at) => {
    const fits = row.querySelector('code').textContent.toLowerCase().includes(wanted);
    row.hidden = wanted ? !fits : !isWhole && row.dataset.late !== undefined;
    if (fits) count++;
  });
  $('found').textContent = wanted ? count + (count === 1 ? ' file' : ' files') : '';
  if (more) more.hidden = isWhole || wanted !== '';
  if (place) draw();
};
for (const row of rows) if (row.hidden) row.dataset.late = '';
if (find) find.addEventListener('input', filter);
if (more) {
  more.hidden = false;
  more.addEventListener('click', () => { isWhole = true; filter(); });
}
})();
