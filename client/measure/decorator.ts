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
    target: AnyFunction,
    context: Partial<ClassMethodDecoratorContext> | string | symbol | undefined,
    descriptor?: TypedPropertyDescriptor<unknown>,
  ): unknown => {
    if ((context as Partial<ClassMethodDecoratorContext> | undefined)?.kind === 'method') return wrap(target)
    if (typeof descriptor?.value === 'function') return { ...descriptor, value: wrap(descriptor.value as AnyFunction) }
    throw new UsageError(`@${what} decorates methods only; wrap functions with wrap()`)
  }
  return decorate as MethodDecorator
}
