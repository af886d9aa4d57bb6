// The project's own functions against Math in double precision, over a dense sweep of float32 bit patterns. The
// bounds asserted here are those that the docstrings of compiler/graph/math.ts and docs/numerics.md state.

import assert from 'node:assert/strict'
import { erf as doubleErf, erfc as doubleErfc, float64 } from '../../compiler/graph/float64.ts'
import { float32, float32Bits, float32FromBits } from '../../compiler/graph/float32.ts'
import * as math from '../../compiler/graph/math.ts'
import { fitAll } from '../../tools/minimax/fit.ts'

type Name = 'exp' | 'log' | 'tanh' | 'erf' | 'sin' | 'cos' | 'reciprocalSqrt' | 'sigmoid'
const apply = (name: Name, x: number): number => math[name](float32, Math.fround(x))

/** |value − exact| in units of the last place that a float32 of the size of `exact` has. */
function ulpError(value: number, exact: number): number {
  if (!Number.isFinite(value) || !Number.isFinite(exact)) return Object.is(value, exact) ? 0 : Infinity
  let exponent = exact === 0 ? -126 : Math.max(-126, Math.floor(Math.log2(Math.abs(exact))))
  if (2 ** exponent > Math.abs(exact) && exponent > -126) exponent--
  return Math.abs(value - exact) / 2 ** (exponent - 23)
}

/** Every `stride`-th float32 between two of the same sign, by bit pattern, ends included. */
function* sweep(from: number, to: number, stride: number): Generator<number> {
  const [first, last] = [float32Bits(from), float32Bits(to)].sort((a, b) => a - b) as [number, number]
  for (let bits = first; bits < last; bits += stride) yield float32FromBits(bits)
  yield float32FromBits(last)
}

interface Case {
  readonly name: Name
  readonly exact: (x: number) => number
  readonly bound: number
  readonly ranges: readonly (readonly [from: number, to: number, stride: number])[]
}

const TINY = 2 ** -149
const GREATEST = 3.4028234663852886e38
const ANGLES = [
  [1e-6, 131072, 997],
  [-131072, -1e-6, 4999],
  [0.5, 131072, 1301],
] as const

const CASES: readonly Case[] = [
  {
    name: 'exp',
    exact: Math.exp,
    bound: 1.05,
    ranges: [
      [1e-9, 88.7228, 997],
      [-87.3365, -1e-9, 997],
    ],
  },
  {
    name: 'log',
    exact: Math.log,
    bound: 0.95,
    ranges: [
      [TINY, GREATEST, 9973],
      [0.4, 2.5, 97],
    ],
  },
  {
    name: 'tanh',
    exact: Math.tanh,
    bound: 2.6,
    ranges: [
      [TINY, 12, 4999],
      [0.001, 10, 499],
      [-10, -0.001, 997],
    ],
  },
  {
    name: 'erf',
    exact: doubleErf,
    bound: 1.1,
    ranges: [
      [2 ** -120, 6, 4999],
      [0.001, 4, 499],
    ],
  },
  { name: 'sin', exact: Math.sin, bound: 1.6, ranges: ANGLES },
  { name: 'cos', exact: Math.cos, bound: 1.6, ranges: ANGLES },
  { name: 'reciprocalSqrt', exact: (x) => 1 / Math.sqrt(x), bound: 1.5, ranges: [[TINY, GREATEST, 9973]] },
  {
    name: 'sigmoid',
    exact: (x) => 1 / (1 + Math.exp(-x)),
    bound: 2.5,
    ranges: [
      [1e-9, 100, 1499],
      [-87, -1e-9, 1499],
    ],
  },
]

describe('own functions', () => {
  for (const { name, exact, bound, ranges } of CASES) {
    it(`${name} stays within ${bound} ulp`, () => {
      let worst = { error: 0, x: 0 }
      let count = 0
      for (const [from, to, stride] of ranges) {
        for (const x of sweep(from, to, stride)) {
          const error = ulpError(apply(name, x), exact(x))
          if (!(error <= worst.error)) worst = { error, x }
          count++
        }
      }
      assert.ok(count >= 200_000, `only ${count} points`)
      assert.ok(worst.error <= bound, `${name}(${worst.x}) is ${worst.error} ulp off`)
    })
  }

  it('exp is exact at its edges', () => {
    for (const zero of [0, -0]) assert.equal(apply('exp', zero), 1)
    for (const x of [-87.33655, -88, -1000, -GREATEST, -Infinity]) assert.ok(Object.is(apply('exp', x), 0), `${x}`)
    assert.ok(apply('exp', -87.33654022216797) >= 2 ** -126, 'the least result is a normal number')
    assert.ok(apply('exp', 88.72283172607422) <= GREATEST)
    for (const x of [88.72283935546875, 89, 1000, GREATEST, Infinity]) assert.equal(apply('exp', x), Infinity)
    for (const x of [TINY, -TINY, 2 ** -30, -(2 ** -30)]) assert.equal(apply('exp', x), 1)
  })

  it('exp never exceeds 1 below 0, nor falls as x grows', () => {
    let previous = 0
    for (const x of [...sweep(-88, -1e-9, 251)].reverse()) {
      const value = apply('exp', x)
      assert.ok(value <= 1, `exp(${x}) = ${value}`)
      assert.ok(value >= previous, `exp falls at ${x}`)
      previous = value
    }
  })

  it('log knows its poles and the subnormals', () => {
    for (const zero of [0, -0]) assert.equal(apply('log', zero), -Infinity)
    for (const x of [-TINY, -1, -GREATEST, -Infinity]) assert.ok(Number.isNaN(apply('log', x)), `${x}`)
    assert.equal(apply('log', Infinity), Infinity)
    assert.ok(Object.is(apply('log', 1), 0))
    for (let bits = 1; bits < 4000; bits++) {
      const x = float32FromBits(bits)
      assert.ok(ulpError(apply('log', x), Math.log(x)) <= 0.95, `${x}`)
    }
  })

  for (const [name, saturated, unsaturated] of [
    ['tanh', 9.02, 8.66],
    ['erf', 3.93, 3.919],
  ] as const) {
    it(`${name} is odd to the bit, rises to exactly 1 and stays there`, () => {
      let previous = 0
      for (const x of sweep(TINY, GREATEST, 9001)) {
        const value = apply(name, x)
        assert.ok(Object.is(apply(name, -x), -value), `${name}(${x})`)
        assert.ok(value <= 1 && value >= previous * (1 - 2 ** -21), `${name}(${x}) = ${value}`)
        if (x >= saturated) assert.equal(value, 1)
        if (x <= unsaturated) assert.ok(value < 1, `${name}(${x})`)
        previous = value
      }
      for (const zero of [0, -0]) assert.ok(Object.is(apply(name, zero), zero))
      assert.deepEqual([apply(name, Infinity), apply(name, -Infinity)], [1, -1])
    })
  }

  it('erf is continuous in accuracy where its two polynomials meet', () => {
    for (let bits = float32Bits(0.999); bits < float32Bits(1.001); bits++) {
      const x = float32FromBits(bits)
      assert.ok(ulpError(apply('erf', x), doubleErf(x)) <= 1.1, `${x}`)
    }
  })

  it('sin and cos stay within 1e-7 for rope angles, and keep their symmetry', () => {
    for (let position = 0; position <= 100_000; position += 1) {
      const angle = Math.fround(position * 10_000 ** (-(position % 64) / 64))
      assert.ok(Math.abs(apply('sin', angle) - Math.sin(angle)) <= 1e-7, `sin(${angle})`)
      assert.ok(Math.abs(apply('cos', angle) - Math.cos(angle)) <= 1e-7, `cos(${angle})`)
      assert.ok(Object.is(apply('sin', -angle), -apply('sin', angle)) && apply('cos', -angle) === apply('cos', angle))
    }
    assert.equal(apply('cos', 0), 1)
  })

  it('sin keeps its relative accuracy next to multiples of π/2', () => {
    for (let n = 1; n < 80_000; n += 7) {
      const x = Math.fround((n * Math.PI) / 2)
      assert.ok(ulpError(apply('sin', x), Math.sin(x)) <= 1.6, `sin(${x})`)
      assert.ok(ulpError(apply('cos', x), Math.cos(x)) <= 1.6, `cos(${x})`)
    }
  })

  it('angles beyond 2¹⁷ are NaN', () => {
    assert.ok(Number.isFinite(apply('sin', 131072)) && Number.isFinite(apply('cos', -131072)))
    for (const x of [131072.015625, -131072.015625, 1e10, -GREATEST, Infinity, -Infinity]) {
      assert.ok(Number.isNaN(apply('sin', x)) && Number.isNaN(apply('cos', x)), `${x}`)
    }
  })

  it('sigmoid and reciprocalSqrt end where they should', () => {
    assert.deepEqual(
      [-89, -Infinity, 17, Infinity, 0].map((x) => apply('sigmoid', x)),
      [0, 0, 1, 1, 0.5],
    )
    assert.deepEqual(
      [0, 4, Infinity].map((x) => apply('reciprocalSqrt', x)),
      [Infinity, 0.5, 0],
    )
    assert.ok(Number.isNaN(apply('reciprocalSqrt', -1)))
  })

  it('NaN stays NaN', () => {
    for (const { name } of CASES) assert.ok(Number.isNaN(apply(name, NaN)), name)
  })

  it('give the same bits whatever a machine makes of NaN and of integers out of range', () => {
    const outOfRange = (value: number): boolean => !(Math.abs(value) < 2 ** 31)
    // x86 answers the least integer; arm64 saturates and makes NaN 0; the third is anything at all.
    const machines = [
      () => -0x80000000,
      (value: number) => (Number.isNaN(value) ? 0 : value > 0 ? 0x7fffffff : -0x80000000),
      () => 0x2badf00d,
    ]
    const inputs = [0, -0, TINY, -TINY, 1, -1, 50, -50, 127, 1e5, -1e5, 131073, 1e9, 3e9, 1e20, GREATEST, Infinity, NaN]
    for (const machine of machines) {
      const words = {
        ...float32,
        toInt: (value: number) => (outOfRange(value) ? machine(value) : float32.toInt(value)),
        // A NaN's payload, too, differs between machines and operations.
        bitsOf: (value: number) =>
          Number.isNaN(value) ? 0x7fc00000 | (machine(value) & 0x803fffff) : float32Bits(value),
      }
      for (const { name } of CASES) {
        for (const x of [...inputs, ...inputs.map((value) => -value)]) {
          assert.ok(Object.is(math[name](words, x), apply(name, x)), `${name}(${x})`)
        }
      }
    }
  })
})

describe('polynomials', () => {
  it('are those that tools/minimax prints', () => {
    assert.deepEqual(math.POLYNOMIALS, fitAll())
  })

  it('are exact float32 numbers', () => {
    for (const coefficient of Object.values(math.POLYNOMIALS).flat())
      assert.equal(Math.fround(coefficient), coefficient)
  })
})

describe('float64 functions', () => {
  it('take the words of the oracle', () => {
    assert.equal(math.exp(float64, 0.3), Math.exp(0.3))
    assert.equal(math.log(float64, 0.3), Math.log(0.3))
    assert.equal(math.tanh(float64, 0.3), Math.tanh(0.3))
    assert.equal(math.erf(float64, 0.3), doubleErf(0.3))
    assert.equal(math.sin(float64, 3e6), Math.sin(3e6))
    assert.equal(math.cos(float64, 3e6), Math.cos(3e6))
    assert.equal(math.sigmoid(float64, 0.3), 1 / (1 + Math.exp(-0.3)))
    assert.equal(math.reciprocalSqrt(float64, 0.3), 1 / Math.sqrt(0.3))
  })

  it('erf and erfc agree with published values to double precision', () => {
    // The C library's, which agree with Abramowitz and Stegun table 7.1 as far as that goes.
    const published = [
      [1e-8, 1.1283791670955126e-8, 0.9999999887162083],
      [0.1, 0.1124629160182849, 0.8875370839817152],
      [0.51, 0.5292436198411704, 0.4707563801588296],
      [1, 0.8427007929497149, 0.15729920705028513],
      [2, 0.9953222650189527, 0.004677734981047266],
      [3, 0.9999779095030014, 2.2090496998585438e-5],
      [4.5, 0.9999999998033839, 1.9661604415428873e-10],
      [10, 1, 2.088487583762545e-45],
    ] as const
    for (const [x, value, complement] of published) {
      assert.ok(Math.abs(doubleErf(x) / value - 1) < 1e-15, `erf(${x})`)
      assert.ok(Math.abs(doubleErfc(x) / complement - 1) < 3e-15, `erfc(${x})`)
      assert.equal(doubleErf(-x), -doubleErf(x))
    }
  })

  it('erf is the integral of its density', () => {
    for (const [from, to] of [
      [0, 0.7],
      [0.7, 1.49],
      [1.4, 1.6],
      [1.5, 3.1],
    ] as const) {
      const steps = 2000
      const width = (to - from) / steps
      let sum = 0
      for (let k = 0; k <= steps; k++) {
        const simpson = k === 0 || k === steps ? 1 : k % 2 === 1 ? 4 : 2
        sum += simpson * Math.exp(-((from + k * width) ** 2))
      }
      const integral = (2 / Math.sqrt(Math.PI)) * sum * (width / 3)
      assert.ok(Math.abs(doubleErf(to) - doubleErf(from) - integral) < 1e-14, `${from} to ${to}`)
    }
  })
})
