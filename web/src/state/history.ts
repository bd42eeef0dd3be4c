/**
 * Conversations in the browser's own database. Nothing leaves the machine.
 *
 * Where the browser has no database (some private windows), history lasts as long as the page.
 */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb'
import type { Conversation } from './conversation.ts'

export interface ConversationSummary {
  id: string
  title: string
  updatedAt: number
}

/** Summaries are apart, so that the list does not read every picture and sound. */
interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation }
  summaries: { key: string; value: ConversationSummary; indexes: { updatedAt: number } }
}

let database: Promise<IDBPDatabase<Schema>> | undefined

function open(): Promise<IDBPDatabase<Schema>> {
  database ??= openDB<Schema>('omniserve', 1, {
    upgrade(db) {
      db.createObjectStore('conversations', { keyPath: 'id' })
      db.createObjectStore('summaries', { keyPath: 'id' }).createIndex('updatedAt', 'updatedAt')
    },
  })
  return database
}

/** Newest first. */
export async function listConversations(): Promise<ConversationSummary[]> {
  const all = await (await open()).getAllFromIndex('summaries', 'updatedAt')
  return all.toReversed()
}

export async function loadConversation(id: string): Promise<Conversation | undefined> {
  return (await open()).get('conversations', id)
}

export async function saveConversation(conversation: Conversation): Promise<void> {
  const transaction = (await open()).transaction(['conversations', 'summaries'], 'readwrite')
  const { id, title, updatedAt } = conversation
  await Promise.all([
    transaction.objectStore('conversations').put(conversation),
    transaction.objectStore('summaries').put({ id, title, updatedAt }),
    transaction.done,
  ])
}

export async function deleteConversation(id: string): Promise<void> {
  const transaction = (await open()).transaction(['conversations', 'summaries'], 'readwrite')
  await Promise.all([
    transaction.objectStore('conversations').delete(id),
    transaction.objectStore('summaries').delete(id),
    transaction.done,
  ])
}
