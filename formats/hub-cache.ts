// The Hugging Face cache on disk: where it is and how a repository lies in it (blobs named by hash, snapshots of
// symbolic links, refs), so that what is downloaded here serves Python as well and the other way round. No network.

import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { INDEX_FILE, readWeightMap, WEIGHTS_FILE } from './checkpoint.ts'
import { makeDirectories } from './directories.ts'
import { quote, readBounded, statusOf, systemCode, writeFailure } from './files.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Files without which a snapshot is no model, beside the weights. */
export const REQUIRED_FILES = ['config.json', 'tokenizer.json'] as const
export const OPTIONAL_FILES = [
  'tokenizer_config.json',
  'generation_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
] as const

function hubHome(environment: Environment): string {
  const base = environment.XDG_CACHE_HOME || path.join(os.homedir(), '.cache')
  return expand(environment.HF_HOME || path.join(base, 'huggingface'), environment)
}

/** `$NAME`, `${NAME}` and a leading `~`, which Python's library accepts in these variables. */
function expand(text: string, environment: Environment): string {
  const named = text.replace(/\$\{?(\w+)\}?/g, (whole, name: string) => environment[name] ?? whole)
  return named.startsWith('~/') ? path.join(os.homedir(), named.slice(2)) : named
}

/** `$HF_HUB_CACHE`, `$HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub` or `~/.cache/huggingface/hub`. */
export function cacheDirectory(environment: Environment): string {
  const named = environment.HF_HUB_CACHE || environment.HUGGINGFACE_HUB_CACHE
  return named ? expand(named, environment) : path.join(hubHome(environment), 'hub')
}

/** `$HF_TOKEN`, `$HUGGING_FACE_HUB_TOKEN`, or what `huggingface-cli login` left. */
export function accessToken(environment: Environment): string | undefined {
  const given = environment.HF_TOKEN || environment.HUGGING_FACE_HUB_TOKEN
  if (given) return cleanToken(given)
  const file = environment.HF_TOKEN_PATH
    ? expand(environment.HF_TOKEN_PATH, environment)
    : path.join(hubHome(environment), 'token')
  return statusOf(file) ? cleanToken(readText(file, 65536)) : undefined
}

function readText(file: string, limit: number): string {
  return new TextDecoder().decode(readBounded(file, limit))
}

/** A token travels in a header line; anything but visible characters would end it. */
function cleanToken(text: string): string | undefined {
  const token = text.trim()
  return /^[\x21-\x7e]+$/.test(token) ? token : undefined
}

/** Whether the environment forbids the network. */
export function isOffline(environment: Environment): boolean {
  return /^(1|on|yes|true)$/i.test(environment.HF_HUB_OFFLINE || environment.TRANSFORMERS_OFFLINE || '')
}

/** A repository id as the hub accepts it: `owner/name`, or a bare name of the early days. Errors: HD420. */
export function checkRepository(id: string): void {
  const isPlain = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/.test(id)
  if (!isPlain || id.length > 96 || /--|\.\.|[.-](\/|$)|\.git$/.test(id)) {
    throw new UserError(
      'HD420',
      `${quote(id)} is neither a directory nor a Hugging Face id such as "Qwen/Qwen2.5-0.5B"`,
    )
  }
}

/** A branch, tag, `refs/pr/1` or commit. It becomes a path below `refs`. Errors: HD420. */
export function checkRevision(revision: string): void {
  const parts = revision.split('/')
  if (
    revision.length > 200 ||
    !parts.every((part) => /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/.test(part) && !part.includes('..'))
  ) {
    throw new UserError('HD420', `${quote(revision)} is not the name of a revision`)
  }
}

const COMMIT = /^[0-9a-f]{40}$/

export function isCommit(text: string): boolean {
  return COMMIT.test(text)
}

/** One repository in the cache: paths, and the few changes that are made to it. */
export class CachedRepository {
  readonly root: string
  readonly blobs: string

  constructor(cache: string, id: string) {
    this.root = path.join(cache, `models--${id.replaceAll('/', '--')}`)
    this.blobs = path.join(this.root, 'blobs')
  }

  snapshot(commit: string): string {
    return path.join(this.root, 'snapshots', commit)
  }

  /** The commit that a revision meant when it was last seen. */
  commitOf(revision: string): string | undefined {
    if (isCommit(revision)) return revision
    const file = path.join(this.root, 'refs', ...revision.split('/'))
    if (!statusOf(file)?.isFile()) return undefined
    const commit = readText(file, 1024).trim()
    return isCommit(commit) ? commit : undefined
  }

  /** Remembers what a revision means, once all of its files are here. */
  remember(revision: string, commit: string): void {
    if (isCommit(revision) || this.commitOf(revision) === commit) return
    const file = path.join(this.root, 'refs', ...revision.split('/'))
    const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`
    changing(file, () => {
      makeDirectories(path.dirname(file))
      fs.writeFileSync(temporary, commit)
      fs.renameSync(temporary, file)
    })
  }

  has(commit: string, name: string): boolean {
    return fs.existsSync(path.join(this.snapshot(commit), name))
  }

  /** Whether the hub has said before that this commit lacks the file. */
  isKnownAbsent(commit: string, name: string): boolean {
    return fs.existsSync(path.join(this.root, '.no_exist', commit, name))
  }

  rememberAbsent(commit: string, name: string): void {
    const file = path.join(this.root, '.no_exist', commit, name)
    changing(file, () => {
      makeDirectories(path.dirname(file))
      fs.closeSync(fs.openSync(file, 'a'))
    })
  }

  /** Makes `snapshots/<commit>/<name>` point to a blob; a copy where the system has no symbolic links. */
  link(commit: string, name: string, blob: string): void {
    const pointer = path.join(this.snapshot(commit), name)
    const target = path.join('..', '..', 'blobs', blob)
    changing(pointer, () => {
      makeDirectories(path.dirname(pointer))
      // A link whose blob was pruned would count as existing.
      fs.rmSync(pointer, { force: true })
      try {
        fs.symlinkSync(target, pointer)
      } catch (error) {
        if (systemCode(error) === 'EEXIST') return
        if (systemCode(error) !== 'EPERM' && systemCode(error) !== 'ENOTSUP') throw error
        fs.copyFileSync(path.join(this.blobs, blob), pointer)
      }
    })
  }

  /** Whether a snapshot has the required files and all weights, so that no network is needed. */
  isComplete(commit: string): boolean {
    if (!REQUIRED_FILES.every((name) => this.has(commit, name))) return false
    if (this.has(commit, WEIGHTS_FILE)) return true
    if (!this.has(commit, INDEX_FILE)) return false
    const shards = new Set(readWeightMap(path.join(this.snapshot(commit), INDEX_FILE)).values())
    return [...shards].every((shard) => this.has(commit, shard))
  }
}

function changing(file: string, change: () => void): void {
  try {
    change()
  } catch (error) {
    throw writeFailure(file, error, 'the cache is as it was')
  }
}
