import { onTestFinished } from 'vitest'
import { GatewayDouble } from '../client/transport/gateway-double.ts'

/** A gateway that is there until the test has finished. */
export async function gateway(): Promise<GatewayDouble> {
  const double = await GatewayDouble.start()
  onTestFinished(() => double.stop())
  return double
}
