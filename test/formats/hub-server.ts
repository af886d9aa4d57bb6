// A server that plays the Hugging Face hub, and a second one on another port that plays its file store. Tests tell them
// how to misbehave. Written from the hub's observable protocol, without the code under test.

import { createHash } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Logged {
  readonly host: 'hub' | 'store'
  readonly method: string
  readonly url: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export interface Repository {
  commit: string
  files: Record<string, Buffer>
}

/** One answer of the file store; each request takes the next from the queue, and behaves well when it is empty. */
export interface Misbehaviour {
  /** Sends this many bytes of the body, then closes the connection. */
  readonly cutAfter?: number
  /** Sends this many bytes, then nothing more. */
  readonly stallAfter?: number
  /** Sends this many bytes, then ends the answer as if it were complete. */
  readonly endAfter?: number
  /** Sends the body in this many pieces, 60 ms apart. */
  readonly pieces?: number
  /** Answers a range request with 200 and the whole file. */
  readonly ignoreRange?: boolean
  /** Answers with this Content-Range. */
  readonly contentRange?: string
  readonly corrupt?: boolean
  readonly status?: number
  /** Bytes sent behind the end. */
  readonly surplus?: number
}

export const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex')
export const gitHash = (content: Buffer): string =>
  createHash('sha1').update(`blob ${content.byteLength}\0`).update(content).digest('hex')

export class HubServer {
  readonly log: Logged[] = []
  readonly repositories: Record<string, Repository> = {}
  readonly misbehaviour: Misbehaviour[] = []
  /** Replaces headers of the hub's answers about a file. */
  headers: Record<string, string | undefined> = {}
  /** Answers this instead of anything else, as often as it says. */
  refuse: { status: number; code?: string; times: number } | undefined
  redirectTo: string | undefined
  /** Called for a request that is then never answered. */
  swallow: (() => void) | undefined
  #hub = http.createServer((request, response) => this.#answer('hub', request, response))
  #store = http.createServer((request, response) => this.#answer('store', request, response))

  async start(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    }
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections()
      await new Promise<unknown>((resolve) => server.close(resolve))
    }
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`
  }

  get #storeAddress(): string {
    return `http://127.0.0.1:${(this.#store.address() as AddressInfo).port}`
  }

  #answer(host: 'hub' | 'store', request: http.IncomingMessage, response: http.ServerResponse): void {
    const { range, authorization } = request.headers
    const url = request.url ?? ''
    this.log.push({ host, method: request.method ?? '', url, range, authorization })
    if (host === 'store') return this.#sendFile(request, response, this.#fileOfHash(url.slice(1)))
    if (this.swallow) return this.swallow()
    if (this.refuse && this.refuse.times-- > 0) {
      return end(
        response,
        this.refuse.status,
        this.refuse.code === undefined ? {} : { 'x-error-code': this.refuse.code },
      )
    }
    if (this.redirectTo !== undefined) return end(response, 302, { location: this.redirectTo })
    const match = /^\/(cached\/)?(.+)\/resolve\/([^/]+)\/(.+)$/.exec(url)
    if (!match) return end(response, 400, {})
    const [, cached, id, revision, name] = match as unknown as [string, string | undefined, string, string, string]
    const repository = this.repositories[id]
    if (!repository) return end(response, request.headers.authorization ? 404 : 401, { 'x-error-code': 'RepoNotFound' })
    if (revision !== 'main' && decodeURIComponent(revision) !== repository.commit) {
      return end(response, 404, { 'x-error-code': 'RevisionNotFound' })
    }
    const content = repository.files[decodeURIComponent(name)]
    const about = { 'x-repo-commit': repository.commit }
    if (!content) return end(response, 404, { ...about, 'x-error-code': 'EntryNotFound' })
    if (name.endsWith('.safetensors')) {
      const linked = { 'x-linked-etag': `"${sha256(content)}"`, 'x-linked-size': `${content.byteLength}` }
      const location = `${this.#storeAddress}/${sha256(content)}`
      return end(response, 302, { ...about, ...linked, location, etag: '"not-the-hash"', ...this.headers })
    }
    // The real hub answers for small files from another path of the same host.
    if (name === 'tokenizer.json' && !cached) return end(response, 307, { ...about, location: `/cached${url}` })
    response.setHeader('etag', `W/"${gitHash(content)}"`)
    response.setHeader('x-repo-commit', repository.commit)
    for (const [header, value] of Object.entries(this.headers)) {
      if (value === undefined) response.removeHeader(header)
      else response.setHeader(header, value)
    }
    this.#sendFile(request, response, content)
  }

  #fileOfHash(hash: string): Buffer | undefined {
    const contents = Object.values(this.repositories).flatMap((repository) => Object.values(repository.files))
    return contents.find((content) => sha256(content) === hash)
  }

  #sendFile(request: http.IncomingMessage, response: http.ServerResponse, stored: Buffer | undefined): void {
    if (!stored) return end(response, 404, {})
    if (request.method === 'HEAD') return end(response, 200, { 'content-length': `${stored.byteLength}` })
    const how = this.misbehaviour.shift() ?? {}
    if (how.status !== undefined) return end(response, how.status, {})
    let content = Buffer.from(stored)
    if (how.corrupt) content[content.byteLength >> 1]! ^= 1
    const from = how.ignoreRange ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
    if (from !== undefined) {
      const range = how.contentRange ?? `bytes ${from}-${content.byteLength - 1}/${content.byteLength}`
      response.writeHead(206, { 'content-range': range })
      content = content.subarray(Number(from))
    } else {
      response.writeHead(200)
    }
    if (how.surplus) content = Buffer.concat([content, Buffer.alloc(how.surplus)])
    if (how.pieces !== undefined) return void sendSlowly(response, content, how.pieces)
    if (how.endAfter !== undefined) return void response.end(content.subarray(0, how.endAfter))
    const stop = how.cutAfter ?? how.stallAfter
    if (stop === undefined) return void response.end(content)
    response.write(content.subarray(0, stop), () => {
      // Late enough for the client to have read what was sent.
      if (how.cutAfter !== undefined) setTimeout(() => response.destroy(), 100)
    })
  }
}

async function sendSlowly(response: http.ServerResponse, content: Buffer, pieces: number): Promise<void> {
  const size = Math.ceil(content.byteLength / pieces)
  for (let from = 0; from < content.byteLength; from += size) {
    response.write(content.subarray(from, from + size))
    await new Promise((resolve) => setTimeout(resolve, 60))
  }
  response.end()
}

function end(response: http.ServerResponse, status: number, headers: Record<string, string | undefined>): void {
  const given = Object.entries(headers).filter((pair): pair is [string, string] => pair[1] !== undefined)
  response.writeHead(status, Object.fromEntries(given))
  response.end()
}
