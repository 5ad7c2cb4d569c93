/** Frames that a worker says will not come, or have not come though later ones have. */
export async function reported(http: string | undefined): Promise<number> {
  const text = await (await fetch(`${http}/metrics`)).text()
  const lost = /^zibrato_worker_frames_total\{outcome="lost"\} (\d+)$/m.exec(text)?.[1]
  const missing = /^zibrato_worker_missing_frames (\d+)$/m.exec(text)?.[1]
  if (lost === undefined || missing === undefined) throw new Error(`no such figures:\n${text}`)
  return Number(lost) + Number(missing)
}
