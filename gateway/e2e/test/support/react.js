// As much of React as the sources' components use, so that their bodies run here as they stand: state, effects, callbacks, refs,
// contexts, and a tree of elements. It draws the whole tree at every change; nothing here is large enough to mind.

/** The component that is being drawn, for the hooks that it calls. */
let drawing = null;

function cell(make) {
  const { hooks } = drawing;
  if (drawing.cursor === hooks.length) hooks.push(make());
  const found = hooks[drawing.cursor];
  drawing.cursor += 1;
  return found;
}

const changed = (before, after) => !before || !after || before.length !== after.length || before.some((value, index) => !Object.is(value, after[index]));

export function useState(initial) {
  const { invalidate } = drawing;
  const state = cell(() => {
    const made = { value: typeof initial === 'function' ? initial() : initial };
    made.set = (next) => {
      const value = typeof next === 'function' ? next(made.value) : next;
      if (Object.is(value, made.value)) return;
      made.value = value;
      invalidate();
    };
    return made;
  });
  return [state.value, state.set];
}

export function useEffect(effect, deps) {
  const kept = cell(() => ({ deps: null, cleanup: undefined }));
  if (!changed(kept.deps, deps)) return;
  kept.deps = deps;
  drawing.effects.push(() => {
    kept.cleanup?.();
    kept.cleanup = effect();
  });
}

export function useCallback(callback, deps) {
  const kept = cell(() => ({ deps: null, callback: undefined }));
  if (changed(kept.deps, deps)) Object.assign(kept, { deps, callback });
  return kept.callback;
}

export function useRef(initial = null) {
  return cell(() => ({ current: initial }));
}

export function createContext(initial) {
  const context = { initial };
  context.Provider = { context };
  return context;
}

export function useContext(context) {
  return drawing.contexts.has(context) ? drawing.contexts.get(context) : context.initial;
}

/** What `<type …props>children</type>` stands for. */
export function createElement(type, props, ...children) {
  return { type, props: { ...props, children: children.length > 0 ? children : props?.children } };
}

/**
 * Draws `root` for the time of the test `t`, again at every change of state. `text()` is what a person would read, `find(type)`
 * the first element of that name, as last drawn; `settle()` waits until all changes so far are drawn; `unmount()` takes it down.
 */
export function mount(t, root) {
  const instances = new Map();
  let shown = [];
  let due = false;
  let mounted = true;

  const invalidate = () => {
    if (due || !mounted) return;
    due = true;
    queueMicrotask(draw);
  };

  function drop(instance) {
    for (const { cleanup } of instance.hooks) cleanup?.();
  }

  function expand(node, path, contexts, pass) {
    if (node === null || node === undefined || typeof node === 'boolean') return [];
    if (Array.isArray(node)) return node.flatMap((child, index) => expand(child, `${path}/${child?.props?.key ?? index}`, contexts, pass));
    if (typeof node !== 'object') return [String(node)];
    const { type, props } = node;
    if (type.context) return expand(props.children, `${path}/context`, new Map(contexts).set(type.context, props.value), pass);
    if (typeof type !== 'function') return [{ type, props, children: expand(props.children, `${path}/${type}`, contexts, pass) }];
    const here = `${path}/${type.name}`;
    if (!instances.has(here)) instances.set(here, { hooks: [] });
    pass.seen.add(here);
    const around = drawing;
    drawing = { hooks: instances.get(here).hooks, cursor: 0, contexts, effects: pass.effects, invalidate };
    let output;
    try {
      output = type(props);
    } finally {
      drawing = around;
    }
    return expand(output, here, contexts, pass);
  }

  function draw() {
    due = false;
    if (!mounted) return;
    const pass = { seen: new Set(), effects: [] };
    shown = expand(root, '', new Map(), pass);
    for (const [path, instance] of instances) {
      if (pass.seen.has(path)) continue;
      instances.delete(path);
      drop(instance);
    }
    for (const run of pass.effects) run();
  }

  const textOf = (nodes) => nodes.map((node) => (typeof node === 'string' ? node : textOf(node.children))).join('');
  function first(nodes, type) {
    for (const node of nodes) {
      if (typeof node === 'string') continue;
      const found = node.type === type ? node : first(node.children, type);
      if (found) return found;
    }
    return undefined;
  }

  function unmount() {
    if (!mounted) return;
    mounted = false;
    for (const instance of instances.values()) drop(instance);
  }

  draw();
  t.after(unmount);
  return {
    text: () => textOf(shown),
    find(type) {
      const found = first(shown, type);
      if (!found) throw new Error(`no <${type}> in: ${textOf(shown)}`);
      return found;
    },
    settle: () => new Promise((resolve) => { setImmediate(resolve); }),
    unmount,
  };
}
