// Which operators go over which files, and which tests have to notice. New entries of a table and new files of a folder
// are mutated without a change here.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Project } from 'ts-morph'
import type { Mutation } from './mutation.ts'
import * as control from './control.ts'
import * as operators from './operators.ts'
import type { Operator } from './places.ts'

interface Group {
  readonly name: string
  /** A file, or a folder whose TypeScript files are meant. */
  readonly sources: readonly string[]
  readonly except?: RegExp
  readonly operators: readonly Operator[]
  /** Quick ones first: the first failure ends a trial. */
  readonly tests: readonly string[]
}

const derivatives = 'test/transform/derivatives.test.ts'
const schedule = [
  'truth/scheduling',
  'schedule/advance',
  'schedule/byLane',
  'schedule/fromZero',
  'schedule/tileCandidates',
  'schedule/stores',
  'schedule/golden',
  'schedule/edges',
  'schedule/random',
].map((name) => `test/${name}.test.ts`)

const language = ['dsl/layers', 'dsl/positions', 'dsl/decoding', 'truth/language', 'models/packed', 'models/truth'].map(
  (name) => `test/${name}.test.ts`,
)

/** What is not a graph: how code decides, counts and reckons. */
const code = [control.otherOperators, control.otherBranches]

export const groups: readonly Group[] = [
  {
    name: 'derivatives',
    sources: ['compiler/graph/elementwise.ts'],
    operators: [operators.derivativeSigns('elementwise')],
    tests: [derivatives],
  },
  {
    name: 'derivatives',
    sources: ['compiler/graph/structural.ts'],
    operators: [operators.derivativeSigns('structural')],
    tests: [derivatives],
  },
  {
    name: 'masks',
    sources: [
      'dsl/attention.ts',
      'dsl/decoding.ts',
      'dsl/keptKeys.ts',
      'dsl/languageModel.ts',
      'dsl/layers.ts',
      'dsl/positions.ts',
    ],
    operators: [operators.droppedMasks],
    tests: language,
  },
  {
    name: 'masks',
    sources: ['dsl/decoding.ts', 'dsl/keptKeys.ts', 'dsl/positions.ts'],
    operators: code,
    tests: ['test/dsl/decoding.test.ts', 'test/dsl/positions.test.ts', 'test/models/packed.test.ts'],
  },
  {
    name: 'masks',
    sources: ['compiler/graph/elementwise.ts', 'compiler/graph/structural.ts', 'compiler/transform/dropout.ts'],
    operators: [operators.droppedMasks],
    tests: [derivatives, 'test/transform/adapt.test.ts'],
  },
  {
    name: 'order',
    sources: ['compiler/graph/reductions.ts', 'compiler/graph/interpret.ts'],
    operators: [operators.reversedLoops],
    tests: ['test/graph/interpretReductions.test.ts', 'test/graph/interpret.test.ts'],
  },
  {
    name: 'constants',
    sources: ['compiler/graph/reductions.ts'],
    operators: [operators.halvedNumbers],
    tests: ['test/graph/interpretReductions.test.ts', 'test/graph/interpret.test.ts'],
  },
  {
    name: 'constants',
    sources: ['compiler/graph/builder.ts'],
    operators: [operators.halvedConstant('softmaxBlock')],
    tests: ['test/dsl/layers.test.ts', 'test/models/config.test.ts', 'test/models/truth.test.ts'],
  },
  {
    name: 'constants',
    sources: ['dsl/attention.ts'],
    operators: [operators.halvedConstant('maskedScore')],
    tests: ['test/dsl/layers.test.ts', 'test/models/config.test.ts', 'test/models/truth.test.ts'],
  },
  {
    name: 'constants',
    sources: ['compiler/graph/math.ts'],
    operators: [operators.movedCoefficients],
    tests: ['test/graph/math.test.ts'],
  },
  {
    name: 'arithmetic',
    sources: ['compiler/transform/optimizer.ts', 'compiler/transform/learningRate.ts'],
    operators: [operators.otherWords],
    tests: ['test/transform/optimizer.test.ts'],
  },
  {
    name: 'arithmetic',
    sources: [
      'dsl/attention.ts',
      'dsl/decoding.ts',
      'dsl/keptKeys.ts',
      'dsl/languageModel.ts',
      'dsl/layers.ts',
      'dsl/positions.ts',
    ],
    operators: [operators.otherWords],
    tests: language,
  },
  {
    name: 'schedule',
    sources: ['compiler/schedule'],
    except: /\/gpu/,
    operators: [control.fixedAnswers, control.droppedGuards],
    tests: schedule,
  },
  {
    name: 'schedule',
    sources: ['compiler/schedule/nest.ts', 'compiler/schedule/reduction.ts'],
    operators: [operators.halvedNumbers],
    tests: schedule,
  },
  {
    name: 'plan',
    sources: [
      'compiler/plan/transfers.ts',
      'compiler/plan/moments.ts',
      'compiler/plan/drafts.ts',
      'compiler/plan/ahead.ts',
      'compiler/plan/keeping.ts',
    ],
    operators: code,
    tests: ['test/plan/transfers.test.ts', 'test/plan/keeping.test.ts'],
  },
  {
    name: 'plan',
    sources: ['compiler/plan/parts.ts'],
    operators: code,
    tests: ['test/plan/parts.test.ts'],
  },
  {
    name: 'plan',
    sources: ['compiler/plan/zeroing.ts'],
    operators: code,
    tests: ['test/plan/zeroing.test.ts'],
  },
  {
    name: 'recipe',
    sources: ['train/compileRecipe.ts'],
    operators: [...code, operators.halvedNumbers],
    tests: ['test/train/compileRecipe.test.ts'],
  },
  {
    name: 'recipe',
    sources: ['train/prepare.ts'],
    operators: [...code, operators.halvedNumbers],
    tests: ['test/train/prepare.test.ts'],
  },
  ...['sampling', 'stops', 'logits'].map((name) => ({
    name: 'generate',
    sources: [`generate/${name}.ts`],
    operators: [...code, operators.halvedNumbers],
    tests: [`test/generate/${name}.test.ts`],
  })),
]

function filesOf(root: string, { sources, except }: Group): string[] {
  const files = sources.flatMap((source) =>
    source.endsWith('.ts')
      ? [source]
      : readdirSync(join(root, source))
          .sort()
          .map((name) => `${source}/${name}`),
  )
  return files.filter((file) => file.endsWith('.ts') && !except?.test(file))
}

/** Every mutation of every group, in order; `root` is the repository. */
export function allMutations(root: string): Mutation[] {
  const project = new Project({ skipAddingFilesFromTsConfig: true, skipFileDependencyResolution: true })
  return groups.flatMap((group) =>
    filesOf(root, group).flatMap((file) => {
      const text = readFileSync(join(root, file), 'utf8')
      const source = project.createSourceFile(join('/mutated', file), text, { overwrite: true })
      const edits = group.operators.flatMap((operator) => operator(source))
      return edits.map((edit): Mutation => {
        const { line } = source.getLineAndColumnAtPos(edit.start)
        return { ...edit, group: group.name, file, line, tests: group.tests }
      })
    }),
  )
}
