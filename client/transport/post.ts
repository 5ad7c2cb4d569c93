/** What is needed of `fetch`. */
export type Post = (url: string, request: PostRequest) => Promise<PostAnswer>

export interface PostRequest {
  readonly method: 'POST'
  readonly headers: Record<string, string>
  readonly body: Uint8Array<ArrayBuffer> | ArrayBuffer
  readonly signal: AbortSignal
}

export interface PostAnswer {
  readonly status: number
  readonly headers: { get(name: string): string | null }
  text(): Promise<string>
}

/** A gateway, and how to reach it. */
export interface Target {
  /** `https://host` or a full path; `/v1/metrics` is added to a bare host. */
  readonly url: string
  readonly token?: string | undefined
  /** Default: the runtime's `fetch`. */
  readonly fetch?: Post | undefined
}
