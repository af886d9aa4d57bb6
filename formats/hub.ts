// From "owner/name" or a directory to a directory with a model: what is cached is used, what is missing is downloaded
// into the usual Hugging Face cache. Knows no architecture and reads no weights.

import os from 'node:os'
import path from 'node:path'
import { UserError } from '../compiler/diagnostic.ts'
import { INDEX_FILE, readWeightMap, WEIGHTS_FILE } from './checkpoint.ts'
import { quote, statusOf } from './files.ts'
import {
  accessToken,
  cacheDirectory,
  CachedRepository,
  checkRepository,
  checkRevision,
  isCommit,
  isOffline,
  OPTIONAL_FILES,
  REQUIRED_FILES,
} from './hub-cache.ts'
import type { Environment } from './hub-cache.ts'
import { downloadBlob } from './hub-download.ts'
import type { DownloadOptions, Progress } from './hub-download.ts'
import { headFile, Interruption, sleep } from './hub-transport.ts'
import type { Hub, RemoteFile } from './hub-transport.ts'

export type { Progress } from './hub-download.ts'

export interface ResolveOptions {
  /** Branch, tag or commit; `main` by default. */
  readonly revision?: string
  /** Never touch the network; also set by `HF_HUB_OFFLINE=1`. */
  readonly offline?: boolean
  readonly onProgress?: (progress: Progress) => void
  /** Aborting keeps what was received and rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Where `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` … are read; the process's by default. */
  readonly environment?: Environment
  /** Milliseconds without a byte after which a connection counts as lost; 30,000 by default. */
  readonly stallTimeout?: number
  /** Pauses in milliseconds between attempts that bring nothing; their number is that of the attempts. */
  readonly pauses?: readonly number[]
  /** Opens the partial file; tests give one that is full. */
  readonly openPartial?: DownloadOptions['openPartial']
}

export interface ResolvedModel {
  readonly dir: string
  /** `directory`: the caller's own; `cache`: nothing was fetched; `hub`: the hub was asked. */
  readonly source: 'directory' | 'cache' | 'hub'
  /** The commit of the snapshot, unless it is the caller's own directory. */
  readonly commit: string | undefined
  /** One sentence for the user, when the hub could not be asked and the cached snapshot is used. */
  readonly note: string | undefined
}

const DEFAULT_PAUSES = [500, 1000, 2000, 4000, 8000]

/**
 * The directory of a model given by a local path or a Hugging Face id, downloaded first if need be.
 * Errors: HD420 (no such directory and no id), HD421 (unknown, private or incomplete at the hub), HD422 (network or
 * server), HD423 (hash), HD424 (offline and not cached), HD425 (no such revision), HD405 (disk), the signal's reason.
 */
export async function resolveModel(id: string, options: ResolveOptions = {}): Promise<ResolvedModel> {
  const environment = options.environment ?? process.env
  const local = id.startsWith('~/') ? path.join(os.homedir(), id.slice(2)) : id
  if (statusOf(local)?.isDirectory()) {
    return { dir: local, source: 'directory', commit: undefined, note: undefined }
  }
  if (/^(\.{0,2}|~|[A-Za-z]:)[/\\]/.test(id))
    throw new UserError('HD420', `the model directory ${quote(id)} does not exist`)
  checkRepository(id)
  const revision = options.revision ?? 'main'
  checkRevision(revision)
  options.signal?.throwIfAborted()

  const cache = new CachedRepository(cacheDirectory(environment), id)
  const cachedCommit = cache.commitOf(revision)
  const cached = cachedCommit !== undefined && cache.isComplete(cachedCommit) ? cachedCommit : undefined
  const fromCache = (commit: string, note?: string): ResolvedModel => ({
    dir: cache.snapshot(commit),
    source: 'cache',
    commit,
    note,
  })
  // A commit never changes, so a complete snapshot of it needs no question.
  if (cached !== undefined && isCommit(revision)) return fromCache(cached)
  if (options.offline ?? isOffline(environment)) {
    if (cached !== undefined) return fromCache(cached)
    throw new UserError('HD424', `the model ${quote(id)} is not in the cache (${cache.root}), and the network is off`)
  }

  const hub: Hub = {
    endpoint: endpointOf(environment),
    token: accessToken(environment),
    repository: id,
    signal: options.signal,
    stallTimeout: options.stallTimeout ?? 30_000,
  }
  let config: RemoteFile | undefined
  try {
    config = await headFile(hub, revision, 'config.json', 'unknown')
  } catch (error) {
    if (cached === undefined || options.signal?.aborted || !mayUseCache(error)) throw unreachable(hub, error)
    const reason = error instanceof Error ? error.message : String(error)
    return fromCache(cached, `${hub.endpoint} could not be asked (${reason}), so the cached ${quote(id)} is used`)
  }
  if (config === undefined) throw missingFile(hub, 'config.json')
  await new Fetcher(hub, cache, config, options).fetchModel()
  cache.remember(revision, config.commit)
  return { dir: cache.snapshot(config.commit), source: 'hub', commit: config.commit, note: undefined }
}

function endpointOf(environment: Environment): string {
  const endpoint = (environment.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '')
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new UserError('HD420', `HF_ENDPOINT is ${quote(endpoint)}, which is not a web address`)
  }
  return endpoint
}

/** Network and access may come back; that a revision does not exist is an answer. */
function mayUseCache(error: unknown): boolean {
  return error instanceof Interruption || (error instanceof UserError && error.code !== 'HD425')
}

function unreachable(hub: Hub, error: unknown): unknown {
  if (!(error instanceof Interruption)) return error
  return new UserError('HD422', `${hub.endpoint} could not be reached for ${quote(hub.repository)}: ${error.message}`, {
    mend: `there is no directory ${quote(hub.repository)} here either; give one, or try again with a network connection`,
    cause: error,
  })
}

function missingFile(hub: Hub, name: string): UserError {
  return new UserError('HD421', `the model ${quote(hub.repository)} has no file ${quote(name)}`)
}

/** Brings the files of one commit into the cache, one after the other. */
class Fetcher {
  readonly #hub: Hub
  readonly #cache: CachedRepository
  readonly #config: RemoteFile
  readonly #download: DownloadOptions

  constructor(hub: Hub, cache: CachedRepository, config: RemoteFile, options: ResolveOptions) {
    this.#hub = hub
    this.#cache = cache
    this.#config = config
    this.#download = {
      onProgress: options.onProgress,
      pauses: options.pauses ?? DEFAULT_PAUSES,
      openPartial: options.openPartial,
    }
  }

  async fetchModel(): Promise<void> {
    const { commit } = this.#config
    if (!this.#cache.has(commit, 'config.json')) await this.#store('config.json', this.#config)
    for (const name of REQUIRED_FILES) {
      if (!(await this.#fetch(name))) throw missingFile(this.#hub, name)
    }
    for (const name of OPTIONAL_FILES) await this.#fetch(name)
    if (await this.#fetch(WEIGHTS_FILE)) return
    if (!(await this.#fetch(INDEX_FILE))) {
      throw new UserError('HD421', `the model ${quote(this.#hub.repository)} has no safetensors weights`)
    }
    const weightMap = readWeightMap(path.join(this.#cache.snapshot(commit), INDEX_FILE))
    for (const shard of new Set(weightMap.values())) {
      if (!(await this.#fetch(shard))) throw missingFile(this.#hub, shard)
    }
  }

  /** Whether the commit has the file, which then is in the snapshot. */
  async #fetch(name: string): Promise<boolean> {
    const { commit } = this.#config
    if (this.#cache.has(commit, name)) return true
    if (this.#cache.isKnownAbsent(commit, name)) return false
    this.#hub.signal?.throwIfAborted()
    // By commit, not by branch: all files are of one state, even when the branch moves meanwhile.
    const remote = await this.#ask(name)
    if (remote === undefined) {
      this.#cache.rememberAbsent(commit, name)
      return false
    }
    if (remote.commit !== commit) {
      throw new UserError('HD422', `${this.#hub.endpoint} answers for another commit of ${quote(this.#hub.repository)}`)
    }
    await this.#store(name, remote)
    return true
  }

  async #ask(name: string): Promise<RemoteFile | undefined> {
    for (const pause of this.#download.pauses) {
      try {
        return await headFile(this.#hub, this.#config.commit, name, 'known')
      } catch (error) {
        if (!(error instanceof Interruption)) throw error
        await sleep(pause, this.#hub.signal)
      }
    }
    try {
      return await headFile(this.#hub, this.#config.commit, name, 'known')
    } catch (error) {
      throw unreachable(this.#hub, error)
    }
  }

  async #store(name: string, remote: RemoteFile): Promise<void> {
    await downloadBlob(this.#hub, name, remote, this.#cache.blobs, this.#download)
    this.#cache.link(remote.commit, name, remote.hash)
  }
}
