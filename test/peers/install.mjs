// Installs what `npm run test:peers` runs against and this machine lacks, and says what there is. A test is never left
// out: what cannot be installed ends this with 1 and one line that says what to do.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Debian packages, in the order in which they are shown. */
const PACKAGES = ['python3-zmq', 'python3-statsd', 'prometheus', 'graphite-carbon', 'influxdb', 'victoria-metrics']

// no questions, no service started or left to be started at the next boot; lists that are missing or old are fetched
const INSTALL = `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' >"$policy"
  chmod 755 "$policy"
fi
install() {
  apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" >/dev/null
}
install "$@" 2>/dev/null || { apt-get -qq -o DPkg::Lock::Timeout=300 update && install "$@"; }
if [ -d /run/systemd/system ]; then
  for unit in $(dpkg -L "$@" | sed -n 's,.*/systemd/system/\\([^/]*\\.\\(service\\|timer\\)\\)$,\\1,p'); do
    systemctl disable --quiet "$unit" || true
  done
fi
`

const folder = import.meta.dirname
const { dependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

const missing = PACKAGES.filter((name) => debianVersion(name) === undefined)
if (missing.length > 0) installDebian(missing)
if (Object.entries(dependencies).some(([name, version]) => npmVersion(name) !== version)) {
  execFileSync('npm', ['ci', '--prefix', folder, '--loglevel', 'error'], { stdio: ['ignore', 'ignore', 'inherit'] })
}

const rows = [
  ['node', process.version.slice(1)],
  ...PACKAGES.map((name) => [name, debianVersion(name)]),
  ...Object.keys(dependencies).map((name) => [name, npmVersion(name)]),
]
const absent = rows.filter(([, version]) => version === undefined).map(([name]) => name)
if (absent.length > 0) fail(`${absent.join(' ')} was installed and is not there`)
const width = Math.max(...rows.map(([name]) => name.length))
for (const [name, version] of rows) console.log(`${name.padEnd(width)}  ${version}`)

function installDebian(names) {
  const command = ['sh', '-c', INSTALL, 'install', ...names]
  const by = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  if (!succeeds('apt-get', ['--version']) || (by.length > 0 && !succeeds('sudo', ['-n', 'true']))) {
    fail(`install these Debian packages and run it again: apt-get install ${names.join(' ')}`)
  }
  console.log(`installing ${names.join(' ')}`)
  const [program, ...args] = [...by, ...command]
  const { status } = spawnSync(program, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) fail(`apt-get install ${names.join(' ')} failed; run it by hand to see why`)
}

/** The version of an installed package, or undefined. */
function debianVersion(name) {
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f=${db:Status-Status} ${Version}', name], { encoding: 'utf8' })
  return stdout?.startsWith('installed ') ? stdout.slice('installed '.length) : undefined
}

function npmVersion(name) {
  const path = join(folder, 'node_modules', name, 'package.json')
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).version : undefined
}

function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

function fail(message) {
  console.error(`test:peers: ${message}`)
  process.exit(1)
}
