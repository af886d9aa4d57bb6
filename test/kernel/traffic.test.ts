// What is read off a kernel's loops against what happens when it runs: the interpreter's arrays note every element that
// is read or written, its arithmetic every multiply-add. Odd sizes, before and after directives.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { dtypeBytes } from '../../compiler/graph/axis.ts'
import { float32 } from '../../compiler/graph/float32.ts'
import { runKernel } from '../../compiler/kernel/interpret.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Buffer, Kernel } from '../../compiler/kernel/ir.ts'
import type { KernelArray } from '../../compiler/kernel/memory.ts'
import { parseKernel } from '../../compiler/kernel/parse.ts'
import { printKernel } from '../../compiler/kernel/print.ts'
import { countKernel, kernelTraffic } from '../../compiler/kernel/traffic.ts'
import { scheduleFunction } from '../../compiler/schedule/schedule.ts'
import { smallProfile } from '../schedule/launch.ts'
import { training } from '../schedule/trainings.ts'
import { growGraph } from '../support/randomGraph.ts'
import { handKernels } from './handKernels.ts'

interface Seen {
  readonly loads: number
  readonly stores: number
  readonly read: ReadonlySet<number>
  readonly written: ReadonlySet<number>
}

interface Watched {
  readonly array: KernelArray
  readonly seen: () => Seen
}

/** Integers below `below`, so that whatever is looked up by them exists. */
function arrayFor({ dtype }: Buffer, length: number, below: number): KernelArray {
  if (dtype === 'f32') return Float32Array.from({ length }, (_, place) => Math.sin(place) * 0.3)
  if (dtype === 'f16' || dtype === 'bf16') return new Uint16Array(length).fill(0x3c00)
  return Int32Array.from({ length }, (_, place) => (dtype === 'bool' ? 1 : (place * 5) % below))
}

/** An array that notes which of its elements are touched. */
function watched(buffer: Buffer, below: number): Watched {
  const read = new Set<number>()
  const written = new Set<number>()
  let loads = 0
  let stores = 0
  const array = new Proxy(arrayFor(buffer, bufferElements(buffer), below), {
    get: (target, key) => {
      const place = typeof key === 'string' && /^\d+$/.test(key) ? Number(key) : undefined
      if (place !== undefined) {
        loads++
        read.add(place)
      }
      return Reflect.get(target, key) as unknown
    },
    set: (target, key, value) => {
      stores++
      written.add(Number(key))
      return Reflect.set(target, key, value)
    },
  })
  return { array, seen: () => ({ loads, stores, read, written }) }
}

function runWatched(kernel: Kernel, sizes: Readonly<Record<string, number>>) {
  const bounds = [...printKernel(kernel).matchAll(/ below (\d+)/g)].map(([, bound]) => Number(bound))
  const below = Math.min(3, ...bounds)
  const buffers = new Map(kernel.arguments.map((buffer) => [buffer.name, watched(buffer, below)]))
  let multiplyAdds = 0
  const fma = (a: number, b: number, c: number): number => {
    multiplyAdds++
    return float32.fma(a, b, c)
  }
  const arithmetic = Object.assign(Object.create(float32) as typeof float32, { fma })
  runKernel(kernel, { buffers: new Map([...buffers].map(([name, one]) => [name, one.array])), sizes, arithmetic })
  return { multiplyAdds, seen: new Map([...buffers].map(([name, one]) => [name, one.seen()])) }
}

const looksUp = (kernel: Kernel): boolean => printKernel(kernel).includes('value(')

/** Counts must be equal; distinct bytes too, but where rows are looked up nobody knows which are the same. */
function compare(kernel: Kernel, sizes: Readonly<Record<string, number>>): void {
  const { multiplyAdds, seen } = runWatched(kernel, sizes)
  const counts = countKernel(kernel, sizes)
  const traffic = kernelTraffic(kernel, 1 << 30, sizes)
  const what = `${JSON.stringify(sizes)}\n${printKernel(kernel)}`
  assert.equal(counts.multiplyAdds, multiplyAdds, `multiply-adds of ${what}`)
  assert.ok(counts.chained <= counts.multiplyAdds)
  for (const buffer of kernel.arguments) {
    const run = seen.get(buffer.name)
    assert.ok(run)
    assert.deepEqual(
      counts.arguments.get(buffer.name),
      { loads: run.loads, stores: run.stores },
      `${buffer.name} of ${what}`,
    )
    const found = traffic.arguments.find(({ name }) => name === buffer.name)
    const bytes = dtypeBytes[buffer.dtype]
    const distinct = { read: run.read.size * bytes, written: run.written.size * bytes }
    if (!looksUp(kernel)) assert.deepEqual(found?.compulsory, distinct, `distinct bytes of ${buffer.name} in ${what}`)
    else {
      assert.ok(found && found.compulsory.read >= distinct.read && found.compulsory.written >= distinct.written, what)
      const whole = bufferElements(buffer) * bytes
      assert.ok(found.compulsory.read <= whole && found.compulsory.written <= whole, what)
    }
  }
}

describe("a kernel's traffic", () => {
  for (const [name, text] of Object.entries(handKernels)) {
    it(`of ${name} is what its run touches, at every size`, () => {
      const kernel = parseKernel(text)
      const bounds = kernel.sizes.map(({ bound }) => bound)
      const isLarge = kernel.arguments.some((buffer) => bufferElements(buffer) > 50_000)
      const choices = bounds.map((bound) =>
        isLarge ? [1, 13] : [...new Set([1, Math.ceil(bound / 3), bound - 1, bound])].filter((n) => n > 0),
      )
      const most = Math.max(1, ...choices.map((choice) => choice.length))
      for (let turn = 0; turn < most; turn++) {
        const sizes = kernel.sizes.map((size, place) => [size.name, choices[place]?.[turn] ?? size.bound] as const)
        compare(kernel, Object.fromEntries(sizes))
      }
    })
  }

  for (const model of ['gpt2', 'qwen2'] as const) {
    for (const adaptation of ['lora', 'full'] as const) {
      it(`of every kernel of a ${model} ${adaptation} step is what its run touches, before and after directives`, () => {
        const { graph, extents } = training({ model, adaptation, dtype: 'bf16', length: 19 })
        const lowered = new Set<string>()
        for (const fn of graph.functions) {
          for (const { nest, kernel } of scheduleFunction(graph, fn, smallProfile(8)).regions) {
            const text = printKernel(kernel)
            if (lowered.has(text)) continue
            lowered.add(text)
            compare(kernel, extents as Record<string, number>)
            compare(nest, extents as Record<string, number>)
          }
        }
        assert.ok(lowered.size > 30)
      })
    }
  }

  it('of random graphs is what their runs touch', () => {
    const numbers = fc.array(fc.nat(2 ** 20), { minLength: 40, maxLength: 300, size: 'max' })
    for (const one of fc.sample(numbers, { numRuns: 40, seed: 11 })) {
      const { graph, extents } = growGraph(one, { steps: 8, elements: 1500 })
      for (const fn of graph.functions) {
        for (const { nest, kernel } of scheduleFunction(graph, fn, smallProfile(4)).regions) {
          compare(kernel, extents as Record<string, number>)
          compare(nest, extents as Record<string, number>)
        }
      }
    }
  })

  const product = parseKernel(`
kernel product {
  read x: f32[10:14, 14:1]
  read w: f32[14:12, 12:1]
  write y: f32[10:12, 12:1]
  register acc: f32[]
  serial m in 10 {
    serial n in 12 {
      acc[] = 0.0
      serial k in 14 {
        acc[] = fma(x[m, k], w[k, n], acc[])
      }
      y[m, n] = acc[]
    }
  }
}`)
  // Worked out by hand: what one row of the result needs is 14 + 168 + 12 elements, what one element needs 14 + 14 + 1.
  const elements = { x: 10 * 14, w: 14 * 12, everyRow: 10 * 14 * 12, everyElement: 10 * 12 * 14 }
  for (const [cache, x, w] of [
    [4 * 428, elements.x, elements.w],
    [4 * 194, elements.x, elements.w],
    [4 * 194 - 1, elements.x, elements.everyRow],
    [4 * 29, elements.x, elements.everyRow],
    [4 * 29 - 1, elements.everyElement, elements.everyRow],
    [0, elements.everyElement, elements.everyRow],
  ] as const) {
    it(`in a cache of ${cache} bytes moves what does not stay there again`, () => {
      const traffic = kernelTraffic(product, cache)
      const moved = Object.fromEntries(traffic.arguments.map((one) => [one.name, one.moved]))
      assert.deepEqual(moved, {
        x: { read: 4 * x, written: 0 },
        w: { read: 4 * w, written: 0 },
        y: { read: 0, written: 4 * 120 },
      })
      assert.deepEqual(traffic.compulsory, { read: 4 * (elements.x + elements.w), written: 4 * 120 })
      assert.deepEqual(traffic.moved, { read: 4 * (x + w), written: 4 * 120 })
    })
  }

  it('counts scratch as room that is taken', () => {
    const packed = parseKernel(`
kernel packed {
  read x: f32[40:1]
  write y: f32[40:1]
  scratch s: f32[100:1]
  serial i in 100 {
    s[i] = 0.0
  }
  serial again in 3 {
    serial i in 40 {
      y[i] = add(x[i], s[i])
    }
  }
}`)
    const times = (cache: number): number => kernelTraffic(packed, cache).moved.read / 160
    // One round touches 40 elements of each of the three.
    assert.deepEqual([4 * 180, 4 * 120, 4 * 120 - 1].map(times), [1, 1, 3])
  })

  it('of causal blocks leaves out what is skipped', () => {
    const kernel = parseKernel(`
kernel causal (sizes seq <= 300) {
  read x: f32[300:1]
  write y: f32[300:1]
  register sum: f32[]
  grid b in (seq + 63) div 64 {
    serial q in min(64, seq - b*64) {
      sum[] = 0.0
      serial r in b + 1 {
        serial k in min(64, seq - r*64) {
          if (r*64 + k < b*64 + q + 1) {
            sum[] = add(sum[], x[r*64 + k])
          }
        }
      }
      y[b*64 + q] = sum[]
    }
  }
}`)
    for (const seq of [1, 64, 65, 129, 300]) {
      const { arguments: touched } = countKernel(kernel, { seq })
      assert.deepEqual(touched.get('x'), { loads: (seq * (seq + 1)) / 2, stores: 0 })
      compare(kernel, { seq })
    }
  })
})
