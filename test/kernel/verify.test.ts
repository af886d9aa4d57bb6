// The verifier accepts right kernels, and refuses each of them after any small change that makes an access wrong.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { InternalError } from '../../compiler/diagnostic.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import type { Index } from '../../compiler/kernel/index.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Expr, Kernel, Stmt } from '../../compiler/kernel/ir.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { verifyKernel } from '../../compiler/kernel/verify.ts'
import type { VerifyOptions } from '../../compiler/kernel/verify.ts'
import { handKernelNames, handKernels } from './handKernels.ts'

function refusal(kernel: Kernel, options?: VerifyOptions): string | undefined {
  try {
    verifyKernel(kernel, options)
    return undefined
  } catch (error) {
    assert.ok(error instanceof InternalError, String(error))
    return error.message
  }
}

function refuses(text: string, message: RegExp, options?: VerifyOptions): void {
  assert.match(refusal(parseKernel(text), options) ?? 'accepted', message)
}

const body = (statements: string): string => `kernel k (sizes seq <= 10) {
  read x: f32[10:8, 8:1]
  read ids: i32[10:1]
  write y: f32[10:8, 8:1]
  register r: f32[16:1]
  ${statements}
}`

/** Every kernel that differs from the given one in one index of one access, by `shift`. */
function shiftedAccesses(kernel: Kernel, shift: number): Kernel[] {
  const total = { count: 0 }
  rewriteAccesses(kernel, (index) => {
    total.count++
    return index
  })
  return Array.from({ length: total.count }, (_, chosen) => {
    let seen = 0
    return rewriteAccesses(kernel, (index) =>
      seen++ === chosen ? { ...index, constant: index.constant + shift } : index,
    )
  })
}

function rewriteAccesses(kernel: Kernel, change: (index: Index) => Index): Kernel {
  const inIndex = (index: Index): Index => ({
    ...index,
    terms: index.terms.map(({ scale, atom }) => ({
      scale,
      atom: atom.kind === 'value' ? { ...atom, value: inExpr(atom.value) } : atom,
    })),
  })
  const inExpr = (expr: Expr): Expr => {
    if (expr.kind === 'load') return { ...expr, indices: expr.indices.map(inIndex).map(change) }
    if (expr.kind === 'apply' || expr.kind === 'pack') return { ...expr, args: expr.args.map(inExpr) }
    return expr.kind === 'splat' ? { ...expr, value: inExpr(expr.value) } : expr
  }
  const inStmt = (stmt: Stmt): Stmt => {
    if (stmt.kind === 'for' || stmt.kind === 'if') return { ...stmt, body: stmt.body.map(inStmt) }
    if (stmt.kind === 'let') return { ...stmt, value: inExpr(stmt.value) }
    if (stmt.kind === 'barrier' || stmt.kind === 'transpose' || stmt.kind === 'prefetch') return stmt
    return { ...stmt, indices: stmt.indices.map(inIndex).map(change), value: inExpr(stmt.value) }
  }
  return { ...kernel, body: kernel.body.map(inStmt) }
}

/** Runs a kernel at every size, and gives the first access outside a buffer. */
function firstFault(kernel: Kernel): string | undefined {
  const bound = kernel.sizes[0]?.bound ?? 1
  for (let value = 1; value <= bound; value++) {
    const sizes = Object.fromEntries(kernel.sizes.map(({ name }) => [name, value]))
    const buffers = new Map(kernel.arguments.map((buffer) => [buffer.name, new Float32Array(bufferElements(buffer))]))
    try {
      runKernel(kernel, { buffers, sizes, arithmetic: float32 })
    } catch (error) {
      assert.ok(error instanceof InternalError)
      if (error.message.includes('outside')) return error.message
    }
  }
  return undefined
}

/** Replaces the n-th match, for every n. */
function eachReplaced(text: string, pattern: RegExp, by: (match: string) => string): string[] {
  return [...text.matchAll(pattern)].map((match) => {
    const end = match.index + match[0].length
    return text.slice(0, match.index) + by(match[0]) + text.slice(end)
  })
}

describe('kernel verifier', () => {
  for (const name of handKernelNames) {
    const kernel = parseKernel(handKernels[name])

    it(`accepts ${name}`, () => verifyKernel(kernel))

    it(`refuses ${name} when any index is off by one`, () => {
      const up = shiftedAccesses(kernel, 1)
      const down = shiftedAccesses(kernel, -1)
      assert.ok(up.length >= 2)
      let refused = 0
      for (const changed of [...up, ...down]) {
        const message = refusal(changed)
        if (message === undefined) assert.equal(firstFault(changed), undefined, printKernel(changed))
        else {
          refused++
          assert.match(message, /not proven to lie in/)
        }
      }
      // The loads that `transposed` packs lie apart, so that most of them may move by one and stay inside.
      assert.equal(up.length + down.length - refused, name === 'transposed' ? 30 : 0)
    })
  }

  it('refuses guards, extents and counts that let one element too many through', () => {
    const changes: [string, RegExp, (match: string) => string][] = [
      [handKernels.contraction, /< (seq|437)/g, (match) => `${match} + 1`],
      [handKernels.contraction, /in (12|32|160) /g, (match) => `in ${Number(match.slice(3)) + 1} `],
      [handKernels.rowSum, /437\)/g, () => '438)'],
      [handKernels.rowSum, /in rows/g, () => 'in rows + 1'],
      [handKernels.gather, /in (seq|7) /g, (match) => match.replace(/(seq|7)/, '$1 + 1')],
      [handKernels.gather, /below 1003/g, () => 'below 1004'],
      [handKernels.partialLanes, /valid min\(16, seq - j\*16\)/g, () => 'valid min(16, seq - j*16 + 1)'],
      [handKernels.partialLanes, / valid min\(16, seq - j\*16\)/g, () => ''],
      [handKernels.blocks, /seq - block\*64\)/g, () => 'seq - block*64 + 1)'],
      [handKernels.blocks, /seq \+ 63/g, () => 'seq + 75'],
      [handKernels.transposed, /seq - s2\*16 =/g, () => 'seq - s2*16 + 1 ='],
      [handKernels.transposed, / valid seq - s2\*16 =/g, () => ' ='],
      [handKernels.transposed, /15 < seq/g, () => '14 < seq'],
      [handKernels.transposed, /- 15\)/g, () => '- 14)'],
      [handKernels.flattened, /< batch/g, () => '< batch + 1'],
      [handKernels.workgroup, /mod 8/g, () => 'mod 9'],
    ]
    for (const [text, pattern, by] of changes) {
      const mutants = eachReplaced(printKernel(parseKernel(text)), pattern, by)
      assert.ok(mutants.length > 0, `${pattern} matches nothing`)
      // Guards around registers alone may be wider than needed; what they let through must still be refused elsewhere.
      for (const mutant of mutants) assert.match(refusal(parseKernel(mutant)) ?? mutant, /not proven to lie in/)
    }
  })

  it('names the kernel, the statement and the range', () => {
    const text = body('serial i in 9 {\ny[i + 2, 0] = 1.0\n}')
    assert.equal(
      refusal(parseKernel(text)),
      "kernel k at 'y[i + 2, 0] = 1.0': index i + 2 of 'y' may be 2 to 10, not proven to lie in [0, 10)",
    )
  })

  it('uses guards that speak of several variables, differences and sums', () => {
    const accepted = [
      'serial i in 100 {\nserial j in 100 {\nif (i + j < seq) {\ny[i, 0] = x[j, 0]\ny[i + j, 0] = 0.0\n}\n}\n}',
      'serial i in seq {\nserial j in seq - i {\ny[i + j, 7] = 0.0\n}\n}',
      'serial i in 100 {\nif (i*8 < seq*8 - 7) {\ny[i, 0] = 0.0\n}\n}',
      'serial i in 80 {\nif (i div 8 < seq) {\ny[i div 8, i mod 8] = 0.0\n}\n}',
      'serial b in (seq + 3) div 4 {\nserial i in min(4, seq - b*4) {\ny[b*4 + i, 0] = 0.0\ny[seq - 1 - b*4 - i, 0] = 0.0\n}\n}',
      'serial i in seq {\nif (2 < i) {\ny[i - 3, 0] = x[i, 0]\n}\n}',
      'serial i in 20 {\ny[i div 2, i mod 2*7] = 0.0\n}',
      'serial i in seq {\ny[min(i + 3, 9), 0] = x[min(seq, i + 1) - 1, 0]\n}',
      'if (10 < seq) {\ny[99, 99] = 0.0\n}',
    ]
    for (const text of accepted) assert.equal(refusal(parseKernel(body(text))), undefined, text)
  })

  it('refuses what would need more than the guards say', () => {
    const refused = [
      'serial i in 100 {\nserial j in 100 {\nif (i < seq + j) {\ny[i, 0] = 0.0\n}\n}\n}',
      'serial i in seq {\ny[i - 1, 0] = 0.0\n}',
      'serial i in seq {\ny[i*2, 0] = 0.0\n}',
      'serial i in 21 {\ny[i div 2, 0] = 0.0\n}',
      'serial i in seq {\ny[min(i + 1, seq), 0] = 0.0\n}',
      'if (9 < seq) {\ny[seq, 0] = 0.0\n}',
      'serial i in 100 {\nif (i < seq) {\ny[0, 0] = 0.0\n}\ny[i, 0] = 0.0\n}',
    ]
    for (const text of refused) refuses(body(text), /not proven to lie in/)
  })

  it('refuses wrong types, lanes and words', () => {
    refuses(body('y[0, 0] = 1'), /1 is i32:1 where f32:1 is wanted/)
    refuses(body('y[0, 0] = add(1.0, 1)'), /1 is i32:1 where f32:1/)
    refuses(body('y[0, 0] = add(1.0)'), /add takes 2 operands, not 1/)
    refuses(body('y[0, 0]:8 = 1.0'), /1.0 is f32:1 where f32:8/)
    refuses(body('y[0, 0]:8 = add(splat(1.0):8, 1.0)'), /1.0 is f32:1 where f32:8/)
    refuses(body('y[0, 0]:8 = splat(splat(1.0):8):8'), /f32:8 where f32:1/)
    refuses(body('y[0, 0] = toFloat(intShiftLeft<32>(1))'), /intShiftLeft cannot take 32 bits/)
    refuses(body('y[0, 0] = toFloat(intShiftLeft(1))'), /cannot take no bits/)
    refuses(body('y[0, 0] = add<3>(1.0, 1.0)'), /add cannot take 3 bits/)
    refuses(body('y[0, 0] = select(1.0, 1.0, 1.0)'), /where bool:1/)
    refuses(body('y[0, 0]:2 = pack(1.0, 1)'), /1 is i32:1 where f32:1/)
    refuses(body('transpose x'), /'x' is no square of float registers/)
    refuses(body('y[0, 0] = tree(add, x)'), /a tree needs a register of 16 floats/)
    refuses(body('y[value(x[0, 0] below 10), 0] = 1.0'), /is f32:1 where i32:1/)
    refuses(body('y[0, 0] = toFloat(index(seq*1000000000))'), /may not fit into 32 bits/)
  })

  it('refuses wrong names and places', () => {
    refuses(body('y[i, 0] = 1.0'), /no loop over 'i' is open here/)
    refuses(body('x[0, 0] = 1.0'), /'x' is only read/)
    refuses(body('y[0] = 1.0'), /'y' has 2 dimensions, but 1 indices/)
    refuses(body('serial x in 2 {\n}'), /the name 'x' is taken/)
    refuses(body('serial i in 2 {\nserial i in 2 {\n}\n}'), /the name 'i' is taken/)
    refuses(body('let a = 1.0\nlet a = 2.0'), /the name 'a' is taken/)
    refuses(body('let seq = 1.0'), /the name 'seq' is taken/)
    assert.equal(
      refusal(parseKernel(body('serial i in 2 {\nlet a = 1.0\n}\nserial i in 3 {\nlet a = 2.0\n}'))),
      undefined,
    )
    const local: Expr = { kind: 'local', name: 'a', type: 'f32', lanes: 1 }
    const store: Stmt = {
      kind: 'store',
      buffer: 'y',
      indices: [0, 0].map((constant) => ({ constant, terms: [] })),
      value: local,
      lanes: 1,
    }
    const open = parseKernel(body('if (1 < 2) {\nlet a = 1.0\n}'))
    assert.match(refusal({ ...open, body: [...open.body, store] }) ?? '', /'a' is not defined here/)
    refuses(
      'kernel k {\nread x: f32[2:2, 2:1]\nwrite y: f32[4:2]\ny[0]:2 = x[0, 0]:2\n}',
      /elements of 'y' are no neighbours/,
    )
    refuses('kernel k {\nupdate i: i32[2:1]\ni[value(i[0] below 2)] = 1\n}', /loaded from 'i', which may change/)
  })

  it('refuses wrong declarations', () => {
    refuses('kernel k {\nwrite y: f32[4:0]\n}', /dimension 4:0/)
    refuses('kernel k {\nread y: f32[0:1]\n}', /dimension 0:1/)
    refuses('kernel k {\nregister y: bf16[4:1]\n}', /exists in memory only/)
    refuses('kernel k (sizes n <= 0) {\n}', /bound 0/)
    const kernel = parseKernel('kernel k {\nread x: f32[4:1]\nscratch s: f32[4:1]\n}')
    assert.match(refusal({ ...kernel, arguments: kernel.locals, locals: [] }) ?? '', /declared as no access in scratch/)
    assert.match(refusal({ ...kernel, locals: kernel.arguments, arguments: [] }) ?? '', /declared as read in argument/)
    assert.match(refusal({ ...kernel, name: 'a b' }) ?? '', /'a b' cannot be a name/)
    assert.match(refusal({ ...kernel, name: 'nan' }) ?? '', /cannot be a name/)
  })

  it('wants grid loops outermost and perfectly nested', () => {
    const message = /a grid loop is not outermost/
    assert.equal(refusal(parseKernel(body('grid i in 2 {\ngrid j in 2 {\ny[i, j] = 1.0\n}\n}'))), undefined)
    refuses(body('serial i in 2 {\ngrid j in 2 {\n}\n}'), message)
    refuses(body('grid i in 2 {\nlet a = 1.0\ngrid j in 2 {\n}\n}'), message)
    refuses(body('grid i in 2 {\n}\ngrid j in 2 {\n}'), message)
    refuses(body('grid i in 2 {\nif (i < 1) {\ngrid j in 2 {\n}\n}\n}'), message)
  })

  it('wants lowered kernels without lanes, copies or computed registers', () => {
    const lowered = { lowered: true }
    refuses(body('lane i in 2 {\n}'), /the loop is not lowered/, lowered)
    refuses(body('unroll i in 2 {\n}'), /the loop is not lowered/, lowered)
    refuses(body('serial i in 2 {\nr[i] = 1.0\n}'), /register 'r' has the index i, which is no constant/, lowered)
    assert.equal(refusal(parseKernel(body('serial i in 2 {\nr[i] = 1.0\n}'))), undefined)
    assert.equal(refusal(parseKernel(body('serial i in 2 {\nr[2] = 1.0\ny[i, 0] = r[2]\n}')), lowered), undefined)
  })

  it('never accepts what goes outside: random nests, guards and indices, run at every size', () => {
    let accepted = 0
    const small = fc.integer({ min: 0, max: 6 })
    const scale = fc.constantFrom(-2, -1, 0, 1, 2, 3, 4)
    const factor = fc.integer({ min: 2, max: 4 })
    const shape = fc.record({ a: scale, b: scale, s: fc.constantFrom(0, 0, 1, -1), c: fc.integer({ min: -3, max: 6 }) })
    type Shape = { a: number; b: number; s: number; c: number }
    const linear = ({ a, b, s, c }: Shape): string =>
      `i*${a} + j*${b} + seq*${s} + ${c}`
        .replaceAll('*-', '*0 - 1*')
        .replaceAll(/(i|j|seq)\*0 - 1\*(\d)/g, '0 - $1*$2')
        .replaceAll('+ -', '- ')
    const wrapped = fc
      .record({ shape, kind: fc.constantFrom('plain', 'plain', 'div', 'mod', 'min'), factor })
      .map((choice) => {
        const text = linear(choice.shape)
        if (choice.kind === 'plain') return text
        return choice.kind === 'min'
          ? `min(${text}, seq - ${choice.factor})`
          : `(${text}) ${choice.kind} ${choice.factor}`
      })
    const outer = fc.oneof(
      small.map((n) => `${n + 1}`),
      fc.constant('seq'),
      factor.map((f) => `(seq + ${f - 1}) div ${f}`),
    )
    const inner = fc.oneof(
      small.map((n) => `${n + 1}`),
      fc.constantFrom('seq', 'seq - i', 'i + 1', 'i'),
      factor.map((f) => `min(${f}, seq - i*${f})`),
    )
    const guards = fc.array(fc.tuple(wrapped, fc.oneof(fc.constant('seq'), wrapped)), { maxLength: 2 })
    fc.assert(
      fc.property(
        outer,
        inner,
        guards,
        wrapped,
        small,
        fc.constantFrom('', ':2', ':4'),
        fc.option(wrapped),
        (o, n, g, index, size, lanes, valid) => {
          const condition = g.length === 0 ? '0 < 1' : g.map(([left, right]) => `${left} < ${right}`).join(' and ')
          const value = lanes === '' ? '1.0' : `splat(1.0)${lanes}`
          const cut = valid === null || lanes === '' ? '' : ` valid ${valid}`
          const text = `kernel k (sizes seq <= 7) {\nwrite y: f32[${size + 4}:1]\nserial i in ${o} {\nserial j in ${n} {\nif (${condition}) {\ny[${index}]${lanes}${cut} = ${value}\n}\n}\n}\n}`
          const kernel = parseKernel(text)
          if (refusal(kernel) !== undefined) return
          accepted++
          for (let seq = 1; seq <= 7; seq++) {
            runKernel(kernel, {
              buffers: new Map([['y', new Float32Array(size + 4)]]),
              sizes: { seq },
              arithmetic: float32,
            })
          }
        },
      ),
      { numRuns: 500 },
    )
    assert.ok(accepted > 50, `only ${accepted} kernels were accepted, which proves little`)
  })
})
