// Requests to the hub: redirects followed by hand (the token must not travel to another host, and the headers of the
// redirect itself carry the hash and the commit), answers turned into sentences. Knows no cache and no file.

import { UserError } from '../compiler/diagnostic.ts'
import { quote } from './files.ts'

export interface Hub {
  /** `https://huggingface.co`, without a slash at the end. */
  readonly endpoint: string
  readonly token: string | undefined
  readonly repository: string
  readonly signal: AbortSignal | undefined
  /** Milliseconds without a byte after which a connection counts as lost. */
  readonly stallTimeout: number
}

/** What the hub says of a file before it is fetched. */
export interface RemoteFile {
  readonly commit: string
  /** git blob SHA-1 (40 hex digits) or LFS SHA-256 (64); the file's name among the blobs. */
  readonly hash: string
  readonly size: number
}

/** The connection failed, stalled, or the server is for the moment unable: trying again may help. */
export class Interruption extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'Interruption'
  }
}

const MAX_REDIRECTS = 5

export function fileUrl(hub: Hub, revision: string, name: string): string {
  const file = name.split('/').map(encodeURIComponent).join('/')
  return `${hub.endpoint}/${hub.repository}/resolve/${encodeURIComponent(revision)}/${file}`
}

/** An abort by the user is passed on as it is; whatever else goes wrong on the wire is an interruption. */
export function asInterruption(error: unknown, hub: Hub): unknown {
  if (hub.signal?.aborted) return hub.signal.reason
  if (error instanceof UserError || error instanceof Interruption) return error
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return new Interruption(cause instanceof Error ? cause.message.slice(0, 200) : String(cause), error)
}

async function request(hub: Hub, url: URL, method: string, headers: Headers, signal: AbortSignal): Promise<Response> {
  try {
    return await fetch(url, { method, headers, signal, redirect: 'manual' })
  } catch (error) {
    throw asInterruption(error, hub)
  }
}

function redirectTarget(response: Response, from: URL, hub: Hub): URL | undefined {
  const location = response.headers.get('location')
  if (response.status < 300 || response.status > 399 || !location) return undefined
  let target: URL
  try {
    target = new URL(location, from)
  } catch (error) {
    throw new UserError('HD422', `${hub.endpoint} redirects to something that is no address`, { cause: error })
  }
  const isDowngrade = from.protocol === 'https:' && target.protocol !== 'https:'
  if (isDowngrade || !/^https?:$/.test(target.protocol)) {
    throw new UserError('HD422', `${hub.endpoint} redirects to an insecure address (${quote(target.origin)})`)
  }
  return target
}

function requestHeaders(hub: Hub, url: URL, extra: Readonly<Record<string, string>>): Headers {
  // Identity: sizes, ranges and hashes are those of the file, not of a compressed transfer.
  const headers = new Headers({ 'accept-encoding': 'identity', 'user-agent': 'heddle', ...extra })
  if (hub.token && url.origin === new URL(hub.endpoint).origin) headers.set('authorization', `Bearer ${hub.token}`)
  return headers
}

/** A signal that also fires when nothing was heard for the hub's stall timeout; call `heard` on every sign of life. */
export function watchStall(hub: Hub): { signal: AbortSignal; heard: () => void; stop: () => void } {
  const stalled = new AbortController()
  const fire = (): void => stalled.abort(new Interruption(`nothing was received for ${hub.stallTimeout / 1000} s`))
  let timer = setTimeout(fire, hub.stallTimeout)
  return {
    signal: hub.signal ? AbortSignal.any([stalled.signal, hub.signal]) : stalled.signal,
    heard: () => {
      clearTimeout(timer)
      timer = setTimeout(fire, hub.stallTimeout)
    },
    stop: () => clearTimeout(timer),
  }
}

/** GET, following redirects to any host; the answer's body is still to be read. Errors: HD421, HD422, Interruption. */
export async function getFile(
  hub: Hub,
  revision: string,
  name: string,
  extra: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Response> {
  let url = new URL(fileUrl(hub, revision, name))
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const response = await request(hub, url, 'GET', requestHeaders(hub, url, extra), signal)
    const target = redirectTarget(response, url, hub)
    if (target === undefined) {
      if (!response.ok && response.status !== 416) {
        await response.body?.cancel().catch(() => undefined)
        // Only the hub's own answers speak of access; a file server's 403 is an address that has expired.
        if (url.origin !== new URL(hub.endpoint).origin) {
          throw new Interruption(`the file server ${url.host} answered ${response.status}`)
        }
        throw refusal(hub, revision, name, response)
      }
      return response
    }
    await response.body?.cancel().catch(() => undefined)
    url = target
  }
  throw new UserError('HD422', `${hub.endpoint} redirects more than ${MAX_REDIRECTS} times for ${quote(name)}`)
}

/**
 * What the hub knows of a file: HEAD, following redirects within the host only, since a redirect away is the answer.
 * Returns undefined when the repository lacks the file. Errors: HD421 (no access), HD422 (strange), Interruption.
 */
export async function headFile(
  hub: Hub,
  revision: string,
  name: string,
  repository: 'known' | 'unknown',
): Promise<RemoteFile | undefined> {
  let url = new URL(fileUrl(hub, revision, name))
  let commit: string | null = null
  const watch = watchStall(hub)
  try {
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const response = await request(hub, url, 'HEAD', requestHeaders(hub, url, {}), watch.signal)
      watch.heard()
      commit = response.headers.get('x-repo-commit') ?? commit
      const target = redirectTarget(response, url, hub)
      if (target && target.origin === url.origin && !response.headers.has('x-linked-etag')) {
        url = target
        continue
      }
      if (response.status === 404 && isAbsence(response, repository)) return undefined
      if (!response.ok && !target) throw refusal(hub, revision, name, response)
      return describe(hub, name, commit, response, target !== undefined)
    }
  } finally {
    watch.stop()
  }
  throw new UserError('HD422', `${hub.endpoint} redirects more than ${MAX_REDIRECTS} times for ${quote(name)}`)
}

/** The hub says what is missing; a mirror may not, but once the repository is known it can only be the file. */
function isAbsence(response: Response, repository: 'known' | 'unknown'): boolean {
  const code = response.headers.get('x-error-code')
  return code === 'EntryNotFound' || (code === null && repository === 'known')
}

function describe(hub: Hub, name: string, commit: string | null, response: Response, isRedirect: boolean): RemoteFile {
  const { headers } = response
  const hash = (headers.get('x-linked-etag') ?? headers.get('etag') ?? '').replace(/^W\//, '').replaceAll('"', '')
  const length = headers.get('x-linked-size') ?? (isRedirect ? null : headers.get('content-length'))
  const size = /^\d{1,15}$/.test(length ?? '') ? Number(length) : undefined
  if (commit === null || !/^[0-9a-f]{40}$/.test(commit)) {
    throw new UserError('HD422', `${hub.endpoint} does not answer as a Hugging Face hub: no commit for ${quote(name)}`)
  }
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) {
    throw new UserError('HD422', `${hub.endpoint} gives no hash for ${quote(name)}, so a download could not be checked`)
  }
  if (size === undefined) throw new UserError('HD422', `${hub.endpoint} gives no size for ${quote(name)}`)
  return { commit, hash, size }
}

/** The sentence for an answer that is not the file. */
function refusal(hub: Hub, revision: string, name: string, response: Response): Error {
  const { status, headers } = response
  const code = headers.get('x-error-code')
  const id = quote(hub.repository)
  if (status === 404 && code === 'RevisionNotFound') {
    return new UserError('HD425', `the model ${id} has no revision ${quote(revision)}`)
  }
  if (status === 404 && code === 'EntryNotFound')
    return new UserError('HD421', `the model ${id} has no file ${quote(name)}`)
  if (status === 403 || code === 'GatedRepo') {
    return new UserError('HD421', `access to the model ${id} is not granted to this token`, {
      mend: `ask for access at ${hub.endpoint}/${hub.repository}`,
    })
  }
  if (status === 401 || status === 404) {
    return new UserError('HD421', `there is no model ${id} at ${hub.endpoint}, or it is private`, {
      mend: hub.token ? 'check the spelling and the access token' : 'check the spelling, or set HF_TOKEN',
    })
  }
  if (status === 408 || status === 429 || status >= 500) return new Interruption(`the server answered ${status}`)
  return new UserError('HD422', `${hub.endpoint} answered ${status} for ${quote(name)} of ${id}`)
}

/** Waits; rejects with the signal's reason when it is aborted meanwhile. */
export async function sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const wake = (): void => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(wake, milliseconds)
    signal?.addEventListener('abort', abort, { once: true })
  })
}
