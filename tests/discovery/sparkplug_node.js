// node sparkplug_node.js URL GROUP NODE DEVICE: an edge node with one device, by the client of Cirrus Link.
// Lines on standard input: "device-birth", "device-death", "data", "stop".
'use strict'

const sparkplug = require('sparkplug-client')
const [url, group, node, device] = process.argv.slice(2)
const metric = (name, value, type) => ({ name, value, type })
const client = sparkplug.newClient({
  serverUrl: url, username: 'edge', password: 'edge', groupId: group, edgeNode: node,
  clientId: `${group}-${node}-${process.pid}`, version: 'spBv1.0', keepalive: 5, publishDeath: true
})
// nats-server refuses an empty user name.
const now = () => Date.now()
const nodeBirth = () => client.publishNodeBirth({
  timestamp: now(),
  metrics: [
    metric('Node Control/Rebirth', false, 'Boolean'),
    metric('Properties/Manufacturer', 'Cirrus', 'String'),
    metric('Properties/Serial Number', `SN-${node}`, 'String'),
    metric('Temperature', -21.5, 'Double'),
    metric('Offset', -7, 'Int32')
  ]
})
const deviceBirth = () => client.publishDeviceBirth(device, {
  timestamp: now(),
  metrics: [metric('Properties/hw_version', '2.0', 'String'), metric('Level', 7, 'Int32')]
})
client.on('birth', () => { nodeBirth(); deviceBirth(); console.log('born') })
client.on('ncmd', (payload) => {
  if (payload.metrics.some((one) => one.name === 'Node Control/Rebirth' && one.value)) {
    nodeBirth(); deviceBirth(); console.log('reborn')
  }
})
client.on('error', (error) => console.error(String(error)))
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'device-birth') deviceBirth()
  if (line === 'device-death') client.publishDeviceDeath(device, { timestamp: now() })
  if (line === 'data') client.publishDeviceData(device, { timestamp: now(), metrics: [metric('Level', 8, 'Int32')] })
  if (line === 'stop') { client.stop(); setTimeout(() => process.exit(0), 500) }
})
