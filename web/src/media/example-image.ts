/** An example image: a red circle on a pale background, drawn here so that nothing is fetched. */
import type { Media } from '../state/conversation.ts'
import { newId } from '../state/new-id.ts'

export async function drawExample(): Promise<Media> {
  const canvas = document.createElement('canvas')
  canvas.width = 448
  canvas.height = 448
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('The browser gives no canvas.')
  context.fillStyle = '#f4efe6'
  context.fillRect(0, 0, 448, 448)
  context.fillStyle = '#d92626'
  context.beginPath()
  context.arc(224, 224, 96, 0, 2 * Math.PI)
  context.fill()
  const blob = await new Promise<Blob>((resolve, reject) => {
    canvas.toBlob((made) => (made ? resolve(made) : reject(new Error('The image could not be drawn.'))), 'image/png')
  })
  return {
    id: newId(),
    kind: 'image',
    name: 'circle.png',
    source: { type: 'blob', blob },
    width: 448,
    height: 448,
  }
}
