import { UsageError } from '../errors.ts'
import type { AnyFunction } from './wrap.ts'

/**
 * One decorator for both kinds of TypeScript and JavaScript: TC39's, called with (method, context), and the legacy one of
 * `experimentalDecorators`, called with (target, key, descriptor). On methods and static methods.
 */
export interface MethodDecorator {
  // no more of the context than tells a method: its types would refuse one that declares its `this`
  <Fn extends AnyFunction>(method: Fn, context: Pick<ClassMethodDecoratorContext, 'kind' | 'name'>): Fn
  <Fn>(target: object, key: string | symbol, descriptor: TypedPropertyDescriptor<Fn>): TypedPropertyDescriptor<Fn>
}

export function methodDecorator(what: string, wrap: (method: AnyFunction) => AnyFunction): MethodDecorator {
  const decorate = (
    target: unknown,
    context: ClassMethodDecoratorContext | string | symbol,
    descriptor?: PropertyDescriptor,
  ): unknown => {
    if (typeof context === 'object' && context !== null && 'kind' in context) {
      if (context.kind !== 'method') {
        throw new UsageError(`@${what} decorates methods, not a ${String(context.kind)}; wrap functions with wrap()`)
      }
      return wrap(target as AnyFunction)
    }
    if (typeof descriptor?.value !== 'function') {
      throw new UsageError(`@${what} decorates methods only; wrap functions with wrap()`)
    }
    return { ...descriptor, value: wrap(descriptor.value as AnyFunction) }
  }
  return decorate as MethodDecorator
}
