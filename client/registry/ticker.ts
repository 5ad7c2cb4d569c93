import { TICK_MS } from './ticking.ts'

/** Ticks for as long as somebody holds what ticks; it keeps neither that nor the program alive. */
export function keepTicking(of: WeakRef<{ tick(): void }>): void {
  try {
    const timer = setInterval(() => {
      const held = of.deref()
      if (held === undefined) clearInterval(timer)
      else held.tick()
    }, TICK_MS) as ReturnType<typeof setInterval> & { unref?(): void }
    timer.unref?.()
  } catch {
    // Workers have no timers while a module loads: there, looking ticks
  }
}
