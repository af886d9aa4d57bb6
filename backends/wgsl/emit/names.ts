// WGSL names for names of the kernel IR: an axis may be called `loop` or `f32` and still print as something that
// compiles. Knows no statement.

const reserved = new Set(
  `alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let
  loop override requires return struct switch true var while NULL Self abstract active alignas alignof as asm
  asm_fragment async attribute auto await become cast catch class co_await co_return co_yield coherent column_major
  common compile compile_fragment concept const_cast consteval constexpr constinit crate debugger decltype delete
  demote demote_to_helper do dynamic_cast enum explicit export extends extern external fallthrough filter final finally
  friend from fxgroup get goto groupshared highp impl implements import inline instanceof interface layout lowp macro
  macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline nointerpolation
  non_coherent noncoherent noperspective null nullptr of operator package packoffset partition pass patch
  pixelfragment precise precision premerge priv protected pub public readonly ref regardless register
  reinterpret_cast require resource restrict self set shared sizeof smooth snorm static static_assert static_cast std
  subroutine super target template this thread_local throw trait try type typedef typeid typename typeof union unless
  unorm unsafe unsized use using varying virtual volatile wgsl where with writeonly yield
  array atomic bool f16 f32 i32 u32 mat2x2 mat3x3 mat4x4 ptr sampler texture vec2 vec3 vec4 vec2f vec3f vec4f vec3u
  abs bitcast fma max min round select sqrt unpack2x16float workgroupBarrier widen_f16 widen_bf16 least greatest infinity
  not_a_number sizes Sizes group groups local point points main`
    .split(/\s+/)
    .filter((word) => word !== ''),
)

/** The longest name printed; longer ones that begin alike are told apart by a number. */
const LONGEST = 48

/** Any text as a WGSL identifier that is no keyword. */
export function nameText(text: string): string {
  const plain = text
    .replace(/[^A-Za-z0-9]+/g, '_')
    .slice(0, LONGEST)
    .replace(/^_+|_+$/g, '')
  return /^[A-Za-z]/.test(plain) ? plain : `n${plain === '' ? '' : `_${plain}`}`
}

/** The name spaces of the IR: a size, a loop variable, a let and a buffer may be called the same. */
export type NameKind = 'size' | 'variable' | 'local' | 'buffer'

/** Names of one shader: each name of the IR keeps one text, and no two share it. */
export class Names {
  readonly #texts = new Map<string, string>()
  readonly #taken = new Set<string>()

  of(kind: NameKind, name: string): string {
    const key = `${kind} ${name}`
    const known = this.#texts.get(key)
    if (known !== undefined) return known
    const text = this.fresh(name)
    this.#texts.set(key, text)
    return text
  }

  fresh(wanted: string): string {
    const base = nameText(wanted)
    let text = base
    for (let copy = 2; this.#taken.has(text) || reserved.has(text); copy++) text = `${base}_${copy}`
    this.#taken.add(text)
    return text
  }
}
