// Writes the definition of a model from what its configuration tells, as source text. What a configuration cannot tell is
// written in the commonest way and marked with "Decide". Reads no file.

import { IndentationText, Project, QuoteKind, ts, VariableDeclarationKind } from 'ts-morph'
import type { CodeBlockWriter } from 'ts-morph'
import type { Facts } from './facts.ts'

/** Everything the definition might import, in the order in which it is imported. */
const words = [
  'add', 'attend', 'axis', 'causal', 'causalLM', 'defineModel', 'embedding', 'gelu', 'key', 'layer', 'layerNorm', 'linear',
  'mul', 'positionEmbedding', 'rename', 'rmsNorm', 'rope', 'seq', 'silu', 'sliding', 'tied', 'untied',
] // prettier-ignore

const geluForms = new Map([
  ['gelu', 'erf'],
  ['gelu_new', 'tanh'],
  ['gelu_fast', 'tanh'],
  ['gelu_pytorch_tanh', 'tanh'],
])

/** The name of the exported model: `model_type` where that can be one. */
export function modelNameOf({ modelType }: Facts): string {
  const plain = modelType.replace(/[^A-Za-z0-9]+(.)?/g, (_, next: string | undefined) => (next ?? '').toUpperCase())
  const name = /^[A-Za-z]/.test(plain) ? plain : `model${plain}`
  const taken = [...words, 'c', 'p', 'x', 'q', 'k', 'v', 'h', 'y', 'z', 'Tensor', 'Config', 'vocab', 'embed', 'mlp']
  const isKeyword = ts.identifierToKeywordKind(ts.factory.createIdentifier(name)) !== undefined
  return taken.includes(name) || isKeyword ? `${name}Model` : name
}

/** The source of a definition that type-checks and builds a graph for this configuration. */
export function definitionOf(facts: Facts): string {
  const project = new Project({
    useInMemoryFileSystem: true,
    manipulationSettings: { quoteKind: QuoteKind.Single, indentationText: IndentationText.TwoSpaces },
  })
  const source = project.createSourceFile('model.ts')
  source.addInterface({
    name: 'Config',
    isExported: true,
    docs: ['What of config.json the graph depends on.'],
    properties: configKeys(facts).map(([name, type]) => ({ name, type, isReadonly: true })),
  })
  source.addVariableStatement({
    isExported: true,
    declarationKind: VariableDeclarationKind.Const,
    leadingTrivia: '\n',
    declarations: [{ name: modelNameOf(facts), initializer: (writer) => writeModel(writer, facts) }],
  })
  const used = words.filter(
    (word) => new RegExp(`\\b${word}\\(`).test(source.getText()) || ['key', 'seq'].includes(word),
  )
  source.insertImportDeclaration(0, { moduleSpecifier: 'heddle', namedImports: [{ name: 'Tensor' }], isTypeOnly: true })
  const middle = Math.ceil(used.length / 2)
  for (const half of [used.slice(middle), used.slice(0, middle)]) {
    source.insertImportDeclaration(0, { moduleSpecifier: 'heddle', namedImports: half })
  }
  source.insertStatements(0, heading(facts))
  source.formatText({ semicolons: ts.SemicolonPreference.Remove, indentSize: 2 })
  return source.getFullText().replace(/\n{3,}/g, '\n\n')
}

function heading({ modelType, unread }: Facts): (writer: CodeBlockWriter) => void {
  return (writer) => {
    writer.writeLine(
      `// '${modelType}', as far as its config.json tells: made by heddle new. What it does not tell is marked "Decide":`,
    )
    writer.writeLine(
      '// look it up in the code that the model was published with. The names of parameters are the commonest ones;',
    )
    writer.writeLine('// heddle check says which of them the checkpoint does not have.')
    if (unread.length === 0) return void writer.blankLine()
    writer.writeLine('//')
    writer.writeLine('// Decide: the configuration has these keys too, which nothing here reads:')
    for (const line of wrapped(unread)) writer.writeLine(`//   ${line}`)
    writer.blankLine()
  }
}

function wrapped(names: readonly string[]): string[] {
  return names.reduce<string[]>((lines, name) => {
    const last = lines.at(-1)
    if (last === undefined || last.length + name.length > 100) return [...lines, name]
    return [...lines.slice(0, -1), `${last}, ${name}`]
  }, [])
}

/** Keys of the configuration's type, nested ones as literal types. */
function configKeys({ sizes, norm, biases, rotation, tiedKey, kinds }: Facts): [string, string][] {
  const keys = new Map<string, string>()
  for (const [name, key] of Object.entries(sizes)) {
    const isIdle =
      (name === 'positions' && rotation !== undefined) ||
      (name === 'window' && !kinds.includes('sliding_attention')) ||
      (name === 'layers' && kinds.length > 0)
    if (!isIdle) keys.set(key, 'number')
  }
  if (norm.key !== undefined) keys.set(norm.key, 'number')
  for (const key of [biases.attention, biases.mlp, tiedKey]) if (key !== undefined) keys.set(key, 'boolean')
  if (kinds.length > 0) keys.set('layer_types', `readonly (${kinds.map((kind) => `'${kind}'`).join(' | ')})[]`)
  const scaling = rotation?.scaling
  const nested = [rotation?.theta, ...(scaling?.numbers ?? []).map((name) => `${scaling?.key}.${name}`)]
  const trees: Tree = {}
  for (const path of nested) if (path !== undefined) plant(trees, path.split('.'))
  for (const [name, tree] of Object.entries(trees)) keys.set(name, printTree(tree))
  return [...keys]
}

interface Tree {
  [name: string]: Tree
}

function plant(tree: Tree, [name, ...rest]: readonly string[]): void {
  if (name !== undefined) plant((tree[name] ??= {}), rest)
}

function printTree(tree: Tree): string {
  const entries = Object.entries(tree)
  if (entries.length === 0) return 'number'
  return `{\n${entries.map(([name, inner]) => `readonly ${name}: ${printTree(inner)}`).join('\n')}\n}`
}

function writeModel(writer: CodeBlockWriter, facts: Facts): void {
  writer.write(`defineModel('${modelNameOf(facts)}', (c: Config, p) => `).inlineBlock(() => {
    writeAxes(writer, facts)
    writer.blankLine()
    writeLayers(writer, facts)
    writer.blankLine()
    writeEnds(writer, facts)
  })
  const gate = isGated(facts) ? ["'gate_proj'"] : []
  const targets = ["'q_proj'", "'k_proj'", "'v_proj'", "'o_proj'", ...gate, "'up_proj'", "'down_proj'"]
  const reader = 'readConfig: (json: unknown) => (json as { text_config: Config }).text_config, '
  writer.write(`, { ${facts.isNested ? reader : ''}targets: [${targets.join(', ')}] })`)
}

function writeAxes(writer: CodeBlockWriter, { sizes, norm, rotation, biases }: Facts): void {
  const heads = `c.${sizes.heads}`
  const groups = sizes.groups && `c.${sizes.groups}`
  writer.writeLine(`const embed = axis('embed', c.${sizes.width})`)
  writer.writeLine(`const vocab = axis('vocab', c.${sizes.vocabulary})`)
  if (sizes.mlp === undefined) writer.writeLine('// Decide: the width of the MLP.')
  writer.writeLine(`const mlp = axis('mlp', ${sizes.mlp === undefined ? `4 * c.${sizes.width}` : `c.${sizes.mlp}`})`)
  if (groups === undefined) writer.writeLine(`const head = axis('head', ${heads})`)
  else {
    writer.writeLine(`const kv = axis('kv_head', ${groups})`)
    writer.writeLine(`const group = axis('group', ${heads} / ${groups})`)
  }
  const headSize = sizes.headSize === undefined ? `c.${sizes.width} / ${heads}` : `c.${sizes.headSize}`
  writer.writeLine(`const dim = axis('head_dim', ${headSize})`)
  if (rotation === undefined && sizes.positions) {
    writer.writeLine(`const position = axis('position', c.${sizes.positions})`)
  }
  if (norm.key === undefined) writer.writeLine('// Decide: what is added to the variance.')
  writer.writeLine(`const normal = { over: embed, eps: ${norm.key === undefined ? '1e-5' : `c.${norm.key}`} }`)
  if (rotation) writeRotation(writer, rotation)
  const attention = biases.attention === undefined ? 'false' : `c.${biases.attention}`
  if (biases.attention === undefined)
    writer.writeLine('// Decide: whether the projections of attention and MLP have biases.')
  writer.writeLine(`const attention = { bias: ${attention} }`)
  writer.writeLine(`const dense = { bias: ${biases.mlp === undefined ? 'false' : `c.${biases.mlp}`} }`)
}

function writeRotation(
  writer: CodeBlockWriter,
  { theta, scaling, isOneOfSeveral }: NonNullable<Facts['rotation']>,
): void {
  if (isOneOfSeveral)
    writer.writeLine('// Decide: kinds of layers have rotations of their own; this is that of full attention.')
  if (theta === undefined) writer.writeLine('// Decide: the base of the rotation.')
  const isKnown = scaling !== undefined && scaling.numbers.length > 0
  if (scaling && !isKnown) writer.writeLine(`// Decide: the rotation is scaled by '${scaling.type}'.`)
  writer.write('const rotary = ').inlineBlock(() => {
    writer.writeLine(`over: dim,`).writeLine('at: seq,')
    writer.writeLine(`theta: ${theta === undefined ? '10_000' : `c.${theta}`},`)
    if (isKnown) writeScaling(writer, scaling)
  })
  writer.newLine()
}

const scalingNames = new Map([
  ['low_freq_factor', 'lowFrequency'],
  ['high_freq_factor', 'highFrequency'],
  ['original_max_position_embeddings', 'originalLength'],
])

function writeScaling(writer: CodeBlockWriter, scaling: NonNullable<NonNullable<Facts['rotation']>['scaling']>): void {
  writer.write('scaling: ').inlineBlock(() => {
    writer.writeLine(`type: '${scaling.type}',`)
    for (const name of scaling.numbers) {
      writer.writeLine(`${scalingNames.get(name) ?? name}: c.${scaling.key}.${name},`)
    }
  })
  writer.write(' as const,').newLine()
}

/** A model with root-mean-square norms has a gated MLP as a rule. */
function isGated({ norm }: Facts): boolean {
  return norm.kind === 'rms'
}

function writeNorm(x: string, name: string, { norm }: Facts): string {
  const weight = `p.param('${name}.weight', [embed])`
  return norm.kind === 'rms'
    ? `rmsNorm(${x}, ${weight}, normal)`
    : `layerNorm(${x}, ${weight}, p.param('${name}.bias', [embed]), normal)`
}

function writeLayers(writer: CodeBlockWriter, facts: Facts): void {
  const { sizes, kinds, rotation } = facts
  const [layers, each] = kinds.length > 0 ? ['c.layer_types', ', kind'] : [`c.${sizes.layers}`, '']
  const [queries, keys] = sizes.groups === undefined ? ['head, dim', 'head, dim'] : ['kv, group, dim', 'kv, dim']
  const turned = (value: string): string => (rotation ? `rope(${value}, rotary)` : value)
  const windowed = sizes.window !== undefined && kinds.includes('sliding_attention')
  const others = kinds.filter((kind) => kind !== 'full_attention' && !(windowed && kind === 'sliding_attention'))
  const mask = windowed ? `kind === 'sliding_attention' ? sliding(c.${sizes.window}) : causal()` : 'causal()'
  writer
    .write(`const blocks = layer(${layers}, 'model.layers', (x: Tensor<'batch' | 'seq' | 'embed'>, p${each}) => `)
    .inlineBlock(() => {
      writer.writeLine('// Decide: whether norms stand before, behind, or on both sides of attention and MLP.')
      writer.writeLine(`const h = ${writeNorm('x', 'input_layernorm', facts)}`)
      writer.writeLine('// Decide: whether queries and keys are normalised, by head or as a whole.')
      writer.writeLine(`const q = ${turned(`linear(h, p, 'self_attn.q_proj', [[${queries}], embed], attention)`)}`)
      writer.writeLine(`const k = ${turned(`linear(h, p, 'self_attn.k_proj', [[${keys}], embed], attention)`)}`)
      writer.writeLine(`const v = linear(h, p, 'self_attn.v_proj', [[${keys}], embed], attention)`)
      if (others.length > 0)
        writer.writeLine(
          `// Decide: what ${others.map((kind) => `'${kind}'`).join(', ')} sees; here it is everything before.`,
        )
      if (sizes.window !== undefined && kinds.length === 0)
        writer.writeLine(`// Decide: the configuration has '${sizes.window}'; sliding(…) is that mask.`)
      writer.write('const attended = attend(q, rename(k, seq, key), rename(v, seq, key), ').inlineBlock(() => {
        writer
          .writeLine('over: dim,')
          .writeLine('keys: key,')
          .writeLine(`mask: ${mask},`)
          .writeLine('scale: dim.size ** -0.5,')
      })
      writer.write(')').newLine()
      writer.writeLine(`const y = add(x, linear(attended, p, 'self_attn.o_proj', [embed, [${queries}]], attention))`)
      writer.writeLine(`const z = ${writeNorm('y', 'post_attention_layernorm', facts)}`)
      writeMlp(writer, facts)
    })
  writer.write(')').newLine()
}

function writeMlp(writer: CodeBlockWriter, facts: Facts): void {
  const { activation } = facts
  const form = geluForms.get(activation ?? '')
  const isKnown = form !== undefined || activation === 'silu' || activation === 'swish'
  const acted = (x: string): string => (form === undefined ? `silu(${x})` : `gelu(${x}, '${form}')`)
  if (!isKnown)
    writer.writeLine(
      `// Decide: the activation${activation === undefined ? '' : `, '${activation}' in the configuration`}.`,
    )
  writer.writeLine(`// Decide: whether the MLP is gated${isGated(facts) ? ', as it is here' : ''}.`)
  const projected = (name: string): string => `linear(z, p, 'mlp.${name}', [mlp, embed], dense)`
  if (isGated(facts)) {
    writer.writeLine(`const gate = ${acted(projected('gate_proj'))}`)
    writer.writeLine(`const wide = mul(gate, ${projected('up_proj')})`)
  } else writer.writeLine(`const wide = ${acted(projected('up_proj'))}`)
  writer.writeLine("return add(y, linear(wide, p, 'mlp.down_proj', [embed, mlp], dense))")
}

function writeEnds(writer: CodeBlockWriter, facts: Facts): void {
  const { rotation, sizes, tiedKey } = facts
  writer.writeLine("const words = p.param('model.embed_tokens.weight', [vocab, embed])")
  const found = 'embedding(words, tokens, vocab)'
  const learned = rotation === undefined && sizes.positions !== undefined
  if (rotation === undefined)
    writer.writeLine('// Decide: where positions come in; the configuration speaks of no rotation.')
  if (learned) writer.writeLine("const positions = p.param('model.embed_positions.weight', [position, embed])")
  if (tiedKey === undefined)
    writer.writeLine('// Decide: whether the projection to the vocabulary is the embedding itself, tied(words, embed).')
  const own = "untied(p, 'lm_head', vocab, embed)"
  writer.write('return causalLM(').inlineBlock(() => {
    writer.writeLine('vocabulary: vocab,')
    writer.writeLine(
      `embed: (tokens) => ${learned ? `add(${found}, positionEmbedding(positions, position, seq))` : found},`,
    )
    writer.writeLine('blocks,')
    writer.writeLine(`norm: (x) => ${writeNorm('x', 'model.norm', facts)},`)
    writer.writeLine(`head: ${tiedKey === undefined ? own : `c.${tiedKey} ? tied(words, embed) : ${own}`},`)
  })
  writer.write(')').newLine()
}
