// C++ names for names of the kernel IR. A researcher may call an axis `int` or `sizes`; what is printed compiles and
// means what it should all the same. Knows no statement.

import type { InstructionSet } from '../isa/table.ts'
import { memoryTree } from '../isa/scalar.ts'

const keywords = `alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl const
  const_cast constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false
  float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private
  protected public register reinterpret_cast return short signed sizeof static static_assert static_cast struct switch
  template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
  while xor xor_eq char8_t char16_t char32_t concept consteval constinit co_await co_return co_yield requires
  int32_t int64_t uint16_t uint32_t linux unix i386 wasm main`

/** Names of the generated functions' own parameters and variables. */
const ours = ['sizes', 'arguments', 'scratch', 'begin', 'end', 'point', 'rest']

const reservedOf = new WeakMap<InstructionSet, ReadonlySet<string>>()

/** Every identifier that may stand in a kernel: an axis named like a table's function would hide the function. */
function reserved(isa: InstructionSet): ReadonlySet<string> {
  let names = reservedOf.get(isa)
  if (!names) {
    const templates = [...textsIn(isa.scalar), ...textsIn(isa.vector), ...textsIn(memoryTree), 'least_index']
    names = new Set([keywords, ...ours, ...templates].join(' ').match(/[A-Za-z_]\w*/g))
    reservedOf.set(isa, names)
  }
  return names
}

function textsIn(table: object): string[] {
  return Object.values(table).flatMap((value) => (typeof value === 'string' ? [value] : textsIn(value as object)))
}

/** The longest name printed; two longer ones that begin alike are told apart by a number. */
const LONGEST = 48

/** Any text as the middle of a C++ name: ASCII letters, digits and single underscores. */
export function nameText(text: string): string {
  return text
    .replace(/[^A-Za-z0-9]+/g, '_')
    .slice(0, LONGEST)
    .replace(/^_+|_+$/g, '')
}

/** A name of the IR in scope, with whether anything used it so far: C++ compilers complain about what nothing uses. */
export interface Entry {
  readonly text: string
  used: boolean
}

/** The name spaces of the IR: a size, a loop variable, a let and a buffer may be called the same. */
export type NameKind = 'size' | 'variable' | 'local' | 'buffer'

/** What the names of the IR stand for at one place in a function; blocks nest. */
export class Scope {
  readonly #isa: InstructionSet
  readonly #parent: Scope | undefined
  readonly #entries: Map<string, Entry> = new Map()
  readonly #taken: Set<string> = new Set()

  constructor(isa: InstructionSet, parent?: Scope) {
    this.#isa = isa
    this.#parent = parent
  }

  inner(): Scope {
    return new Scope(this.#isa, this)
  }

  #isTaken(text: string): boolean {
    return this.#taken.has(text) || (this.#parent ? this.#parent.#isTaken(text) : reserved(this.#isa).has(text))
  }

  /** A C++ name that reads like `wanted` and hides nothing, from here to the end of the block. */
  fresh(wanted: string): string {
    const text = nameText(wanted)
    const base = /^[A-Za-z]/.test(text) ? text : `n${text === '' ? '' : `_${text}`}`
    let name = base
    for (let copy = 2; this.#isTaken(name); copy++) name = `${base}_${copy}`
    this.#taken.add(name)
    return name
  }

  /** Gives a name of the IR a fresh C++ name. */
  declare(kind: NameKind, name: string, wanted: string = name): Entry {
    const entry = { text: this.fresh(wanted), used: false }
    this.#entries.set(`${kind} ${name}`, entry)
    return entry
  }

  /** The C++ name, or undefined where nothing of that name is in scope. */
  use(kind: NameKind, name: string): string | undefined {
    const entry = this.#inScope(`${kind} ${name}`)
    if (entry) entry.used = true
    return entry?.text
  }

  #inScope(key: string): Entry | undefined {
    return this.#entries.get(key) ?? (this.#parent ? this.#parent.#inScope(key) : undefined)
  }

  /** Whether the name declared in this very block was used so far. */
  isUsed(kind: NameKind, name: string): boolean {
    return this.#entries.get(`${kind} ${name}`)?.used ?? false
  }
}
