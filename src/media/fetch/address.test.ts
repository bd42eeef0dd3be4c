import { describe, expect, it } from 'vitest'
import { HostAllowList, isPublicAddress } from './address.ts'

describe('public addresses', () => {
  it.each(['8.8.8.8', '1.1.1.1', '203.0.114.1', '2606:4700:4700::1111', '2400:3200::1'])('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true)
  })

  const special = `
    127.0.0.1 127.1.2.3 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 0.0.0.0 0.1.2.3 169.254.169.254
    169.254.0.1 100.64.0.1 100.100.100.200 100.127.255.255 168.63.129.16 224.0.0.1 239.255.255.255
    255.255.255.255 240.0.0.1 192.0.0.170 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 192.88.99.1 ::1
    :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 fec0::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8
    ::ffff:7f00:1 ::127.0.0.1 ::7f00:1 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1 2002:7f00:1::
    2001:0:1:: 2001:db8::1 100::1 2001:10::1 localhost 1.2.3 0x7f.1 [::1]
  `
  it.each([...special.trim().split(/\s+/), '', '127.0.0.1\n'])('%j is not public', (address) => {
    expect(isPublicAddress(address)).toBe(false)
  })
})

describe('allowed hosts', () => {
  const allows = (hosts: string[], url: string) => new HostAllowList(hosts).allows(new URL(url))

  it('are compared without case and without a final dot, otherwise exactly', () => {
    expect(allows(['Files.Internal'], 'http://files.internal/a')).toBe(true)
    expect(allows(['files.internal'], 'http://files.internal.:8080/a')).toBe(true)
    expect(allows(['files.internal'], 'http://evil.files.internal/')).toBe(false)
    expect(allows(['files.internal'], 'http://files.internal.evil.com/')).toBe(false)
    expect(allows([], 'http://files.internal/')).toBe(false)
  })

  it('match only the given port', () => {
    expect(allows(['127.0.0.1:9000'], 'http://127.0.0.1:9000/')).toBe(true)
    expect(allows(['127.0.0.1:9000'], 'http://127.0.0.1:9001/')).toBe(false)
    expect(allows(['a.test:443'], 'https://a.test/')).toBe(true)
    expect(allows(['a.test:443'], 'http://a.test/')).toBe(false)
    expect(allows(['[::1]:80'], 'http://[::1]/')).toBe(true)
    expect(allows(['::1'], 'http://[::1]:5/')).toBe(true)
  })

  it('match other spellings of the same address', () => {
    expect(allows(['127.0.0.1'], 'http://2130706433/')).toBe(true)
    expect(allows(['127.0.0.2'], 'http://0x7f.1/')).toBe(false)
  })

  it.each(['http://a/', 'a/b', 'a b', 'user@a', ''])('cannot be %j', (entry) => {
    expect(() => new HostAllowList([entry])).toThrow('HOST or HOST:PORT')
  })
})
