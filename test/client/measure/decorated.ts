import type { Zibrato } from '../../../client/zibrato.ts'

/** A class as instrumented programs have it; compiled once with TC39's decorators and once with TypeScript's legacy ones. */
export function makeCart(z: Zibrato): typeof CartShape {
  class Cart extends CartShape {
    @z.timeMe({ name: 'cart.pay', level: 'debug' })
    override pay(amount: number, currency: string): string {
      if (amount < 0) throw new RangeError('amount is negative')
      return `${this.owner} pays ${amount} ${currency}`
    }

    @z.countMe({ name: 'cart.add', value: 5 })
    override add(): this {
      return this
    }

    @z.timeMe({ name: 'cart.load', outcome: true })
    override async load(fails: boolean): Promise<string> {
      await Promise.resolve()
      if (fails) throw new Error('no cart')
      return this.owner
    }

    @z.countMe()
    static override open(owner: string): Cart {
      const cart = new this()
      cart.owner = owner
      return cart
    }

    @z.countMe({ name: 'cart.items', outcome: true })
    override *items(): Generator<string> {
      yield this.owner
      yield 'item'
    }

    @z.countMe({ name: 'cart.both' })
    @z.timeMe({ name: 'cart.both' })
    override both(): number {
      return 1
    }

    @z.timeMe({ name: 'cart.kept' })
    override kept<Item>(this: CartShape, item: Item): Item {
      return item
    }
  }
  return Cart
}

export class CartShape {
  owner = 'nobody'
  pay(_amount: number, _currency: string): string {
    return ''
  }
  add(): this {
    return this
  }
  load(_fails: boolean): Promise<string> {
    return Promise.resolve('')
  }
  static open(_owner: string): CartShape {
    return new CartShape()
  }
  *items(): Generator<string> {}
  both(): number {
    return 0
  }
  kept<Item>(this: CartShape, item: Item): Item {
    return item
  }
}
