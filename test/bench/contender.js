// Runs one contender of one case, in a process of its own, and tells run.js its figures.
//   node contender.js CASE CONTENDER SIZE SECONDS
const [file, contender, size, seconds] = process.argv.slice(2)

/** @type {{ default: import('./case.js').Case }} */
const { default: bench } = await import(`./cases/${file}.js`)
const figures = await bench.contenders[contender]({ size: Number(size), seconds: Number(seconds) })
process.send(figures, () => process.exit(0))
