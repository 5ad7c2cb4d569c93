/** What a worker's user must be let do, as `backends/state/README.md` says. */
export const RULE: string =
  '-@all +info +time +select +client|setname +wait +eval +evalsha +get +set +mget +del +unlink +exists +pexpire ' +
  '+hset +hget +hmget +hgetall +hkeys +hvals +hdel +rpush +lrange +zadd +zscore +zcard +zrange +zrangebyscore +zrem ' +
  '+zremrangebyscore +xadd +xdel +xtrim +xrange +xrevrange +xlen +memory|usage'

/** And in a Cluster. */
export const CLUSTER_RULE = '+cluster|slots +cluster|info +readonly +readwrite +asking'
