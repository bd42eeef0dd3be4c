/**
 * Conversations and the unsent message in the browser's own database. Nothing leaves the machine.
 *
 * Where the browser has no database (some private windows), both last as long as the page.
 */
import { openDB, type DBSchema, type IDBPDatabase } from 'idb'
import { searchTextOf, type Conversation, type Media } from './conversation.ts'

export interface ConversationSummary {
  id: string
  title: string
  updatedAt: number
  /** The text, for searching; absent in summaries written by older versions of the page. */
  text?: string
}

/** Summaries are stored separately, so that the list does not read every image and recording. */
interface Schema extends DBSchema {
  conversations: { key: string; value: Conversation }
  summaries: { key: string; value: ConversationSummary; indexes: { updatedAt: number } }
  drafts: { key: string; value: Media[] }
}

let database: Promise<IDBPDatabase<Schema>> | undefined

function open(): Promise<IDBPDatabase<Schema>> {
  database ??= openDB<Schema>('omniserve', 2, {
    upgrade(db, version) {
      if (version < 1) {
        db.createObjectStore('conversations', { keyPath: 'id' })
        db.createObjectStore('summaries', { keyPath: 'id' }).createIndex('updatedAt', 'updatedAt')
      }
      db.createObjectStore('drafts')
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
    transaction.objectStore('summaries').put({ id, title, updatedAt, text: searchTextOf(conversation) }),
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

const DRAFT_TEXT = 'omniserve.draft'
const DRAFT_MEDIA = 'current'

/** Stored at every key press, so it must not wait for the database. */
export function saveDraftText(text: string): void {
  try {
    if (text === '') localStorage.removeItem(DRAFT_TEXT)
    else localStorage.setItem(DRAFT_TEXT, text)
  } catch {
    // Storage blocked or full: the draft lasts as long as the page.
  }
}

export async function saveDraftMedia(media: Media[]): Promise<void> {
  await (await open()).put('drafts', media, DRAFT_MEDIA)
}

export async function loadDraft(): Promise<{ text: string; media: Media[] }> {
  const text = localStorage.getItem(DRAFT_TEXT) ?? ''
  return { text, media: (await (await open()).get('drafts', DRAFT_MEDIA)) ?? [] }
}
