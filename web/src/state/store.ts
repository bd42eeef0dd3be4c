/**
 * The page's state and its actions.
 *
 * In: user actions. Out: state that components read through {@link useStore}. Replies are run by `run-reply.ts`.
 */
import { create } from 'zustand'
import { checkReady, countTokens, getJson } from '../api/client.ts'
import { toFailure, type Failure } from '../api/errors.ts'
import { buildRequest, inlineMedia } from '../api/request.ts'
import { attachReason, modelReason } from '../api/rules.ts'
import type { ModelList, ModelListing, TokensCount, VoiceList } from '../api/types.ts'
import { player } from '../audio/speech-player.ts'
import {
  newConversation,
  titleOf,
  type AssistantTurn,
  type Conversation,
  type Media,
  type UserTurn,
} from './conversation.ts'
import * as history from './history.ts'
import { runReply } from './run-reply.ts'
import { loadSettings, saveSettings, type Settings } from './settings.ts'
import { newId } from './new-id.ts'
import { encodeWav } from '../audio/wav.ts'
import { TALK_RATE } from '../talk/microphone.ts'
import { TalkSession, type TalkTurn } from '../talk/talk-session.ts'
import { talkHistory, talkSettings } from '../talk/talk-settings.ts'

type ServerState = 'unknown' | 'ready' | 'starting' | 'down'

export interface State {
  models: ModelListing[]
  voices: VoiceList['data']
  catalogue: 'loading' | 'ready' | 'failed'
  catalogueFailure: Failure | undefined
  server: ServerState
  serverReason: string
  settings: Settings
  conversation: Conversation
  summaries: history.ConversationSummary[]
  /** False when the browser has no database. */
  historyWorks: boolean
  draftText: string
  draftMedia: Media[]
  /** The spoken conversation that is open. */
  talk: TalkSession | undefined
  /** The reply being made. */
  running: { turnId: string; abort: AbortController } | undefined

  refreshCatalogue: () => Promise<void>
  checkServer: () => Promise<void>
  setSettings: (change: Partial<Settings>) => void
  /** Uses a key from now on and loads the server's models with it; true when the server accepts it. */
  useKey: (apiKey: string) => Promise<boolean>
  setDraftText: (text: string) => void
  attach: (media: Media) => void
  replaceMedia: (id: string, media: Media) => void
  detach: (id: string) => void
  send: () => Promise<void>
  stop: () => void
  retry: (turnId: string) => Promise<void>
  edit: (turnId: string, text: string) => Promise<void>
  deleteTurn: (turnId: string) => void
  newChat: () => void
  openChat: (id: string) => Promise<void>
  deleteChat: (id: string) => Promise<void>
  renameChat: (id: string, title: string) => Promise<void>
  startHistory: () => Promise<void>
  countDraft: () => Promise<TokensCount>
  /** Opens a spoken conversation that continues this one. Call in a click handler. */
  startTalk: () => void
  closeTalk: () => void
}

const LAST = 'omniserve.conversation'

function remember(id: string | undefined): void {
  try {
    if (id === undefined) localStorage.removeItem(LAST)
    else localStorage.setItem(LAST, id)
  } catch {
    // Storage blocked: the page starts empty next time.
  }
}

export const useStore = create<State>()((set, get) => {
  const update = (change: (conversation: Conversation) => Conversation): void =>
    set((state) => ({ conversation: change(state.conversation) }))

  const save = async (): Promise<void> => {
    const conversation = { ...get().conversation, updatedAt: Date.now() }
    conversation.title = titleOf(conversation)
    if (conversation.turns.length === 0) return
    remember(conversation.id)
    try {
      await history.saveConversation(conversation)
      set({ summaries: await history.listConversations() })
    } catch {
      set({ historyWorks: false })
    }
  }

  const addTalkTurn = (conversationId: string, said: TalkTurn): void => {
    const model = currentModel(get())
    if (get().conversation.id !== conversationId || model === undefined) return
    const user: UserTurn = { id: newId(), role: 'user', text: '', mediaIds: [] }
    const media: Media[] = []
    if (said.userAudio.length > 0) {
      const blob = encodeWav(said.userAudio, TALK_RATE)
      const duration = said.userAudio.length / TALK_RATE
      media.push({ id: newId(), kind: 'audio', name: '', source: { type: 'blob', blob }, duration })
      user.mediaIds = media.map(({ id }) => id)
    }
    update((now) => {
      const all = { ...now.media, ...Object.fromEntries(media.map((item) => [item.id, item])) }
      const asked = { ...now, turns: [...now.turns, user], media: all }
      const reply: AssistantTurn = {
        id: newId(),
        role: 'assistant',
        status: said.interrupted ? 'stopped' : 'done',
        text: said.text,
        reasoning: '',
        ...(said.pcm.length > 0 && { pcm: said.pcm }),
        model: model.id,
        metrics: {},
        talk: true,
        request: buildRequest(asked, asked.turns.length, model, get().settings),
      }
      return { ...asked, turns: [...asked.turns, reply] }
    })
    void save()
    void said.userText.then((transcript) => {
      if (transcript === '' || get().conversation.id !== conversationId) return undefined
      update((now) => ({
        ...now,
        turns: now.turns.map((turn) => (turn.id === user.id ? { ...user, transcript } : turn)),
      }))
      return save()
    })
  }

  const setDraftMedia = (draftMedia: Media[]): void => {
    set({ draftMedia })
    history.saveDraftMedia(draftMedia).catch(() => set({ historyWorks: false }))
  }

  /** Answers the last turn, which is the user's. */
  const answer = async (): Promise<void> => {
    const { settings, conversation } = get()
    const model = currentModel(get())
    if (model === undefined) return
    const abort = new AbortController()
    const request = buildRequest(conversation, conversation.turns.length, model, settings)
    const turnId = newId()
    set({ running: { turnId, abort } })
    if (request.audio !== undefined && settings.autoplay) player.unlock()
    await runReply({
      turnId,
      request,
      media: conversation.media,
      apiKey: settings.apiKey,
      autoplay: settings.autoplay,
      signal: abort.signal,
      onTurn: (turn) => {
        if (get().conversation.id !== conversation.id) return
        update((now) => {
          const known = now.turns.some((item) => item.id === turnId)
          const turns = known ? now.turns.map((item) => (item.id === turnId ? turn : item)) : [...now.turns, turn]
          return { ...now, turns }
        })
      },
    })
    if (get().running?.turnId === turnId) set({ running: undefined })
    if (get().conversation.id === conversation.id) await save()
    void get().checkServer()
  }

  return {
    models: [],
    voices: [],
    catalogue: 'loading',
    catalogueFailure: undefined,
    server: 'unknown',
    serverReason: '',
    settings: loadSettings(),
    conversation: newConversation(Date.now()),
    summaries: [],
    historyWorks: true,
    draftText: '',
    draftMedia: [],
    talk: undefined,
    running: undefined,

    async refreshCatalogue() {
      const { apiKey } = get().settings
      try {
        const [models, voices] = (await Promise.all([getJson('/models', apiKey), getJson('/voices', apiKey)])) as [
          ModelList,
          VoiceList,
        ]
        set({ models: models.data, voices: voices.data, catalogue: 'ready', catalogueFailure: undefined })
        get().setSettings({})
      } catch (error) {
        set({ catalogue: 'failed', catalogueFailure: toFailure(error) })
      }
    },

    async checkServer() {
      const before = get().server
      const { state, reason } = await checkReady()
      if (state !== before || reason !== get().serverReason) set({ server: state, serverReason: reason })
      if (state !== 'down' && (get().catalogue === 'failed' || before === 'starting')) await get().refreshCatalogue()
    },

    setSettings(change) {
      set((state) => {
        const settings = { ...state.settings, ...change }
        if (state.models.length > 0 && !state.models.some((model) => model.id === settings.model))
          settings.model = (state.models.find((model) => modelReason(model) === undefined) ?? state.models[0])!.id
        const voices = state.voices.find((entry) => entry.model === settings.model)
        if (voices && !voices.voices.some((voice) => voice.name === settings.voice))
          settings.voice = voices.default_voice
        saveSettings(settings)
        return { settings }
      })
    },

    async useKey(apiKey) {
      get().setSettings({ apiKey })
      await get().refreshCatalogue()
      return get().catalogue === 'ready'
    },

    setDraftText(draftText) {
      set({ draftText })
      history.saveDraftText(draftText)
    },
    attach: (media) => setDraftMedia([...get().draftMedia, media]),
    replaceMedia: (id, media) => setDraftMedia(get().draftMedia.map((item) => (item.id === id ? media : item))),
    detach: (id) => setDraftMedia(get().draftMedia.filter((item) => item.id !== id)),

    async send() {
      const { draftText, draftMedia, running } = get()
      if (running || (draftText.trim() === '' && draftMedia.length === 0)) return
      const turn: UserTurn = {
        id: newId(),
        role: 'user',
        text: draftText.trim(),
        mediaIds: draftMedia.map((media) => media.id),
      }
      const media = Object.fromEntries(draftMedia.map((item) => [item.id, item]))
      update((now) => ({ ...now, turns: [...now.turns, turn], media: { ...now.media, ...media } }))
      get().setDraftText('')
      setDraftMedia([])
      void save()
      await answer()
    },

    stop() {
      player.stop()
      get().running?.abort.abort()
    },

    async retry(turnId) {
      if (get().running) return
      player.stop()
      update((now) => {
        const index = now.turns.findIndex((turn) => turn.id === turnId)
        if (index < 0) return now
        return { ...now, turns: now.turns.slice(0, now.turns[index]!.role === 'user' ? index + 1 : index) }
      })
      await answer()
    },

    async edit(turnId, text) {
      if (get().running) return
      player.stop()
      update((now) => {
        const index = now.turns.findIndex((turn) => turn.id === turnId)
        const turn = now.turns[index]
        return turn?.role === 'user' ? { ...now, turns: [...now.turns.slice(0, index), { ...turn, text }] } : now
      })
      await answer()
    },

    deleteTurn(turnId) {
      if (get().running?.turnId === turnId) get().stop()
      if (player.state.id === turnId) player.stop()
      update((now) => {
        const index = now.turns.findIndex((turn) => turn.id === turnId)
        if (index < 0) return now
        // A message without its reply, or a reply without its message, would leave a conversation the API may refuse.
        const isPair = now.turns[index]!.role === 'user' && now.turns[index + 1]?.role === 'assistant'
        return { ...now, turns: now.turns.filter((_, place) => place !== index && !(isPair && place === index + 1)) }
      })
      if (get().conversation.turns.length > 0) void save()
      else void get().deleteChat(get().conversation.id)
    },

    newChat() {
      if (get().running) void save()
      get().stop()
      get().closeTalk()
      remember(undefined)
      set({ conversation: newConversation(Date.now()), running: undefined })
    },

    async openChat(id) {
      if (get().running) void save()
      get().stop()
      get().closeTalk()
      const { conversation: left, running } = get()
      const conversation = await history.loadConversation(id).catch(() => undefined)
      if (conversation === undefined) return
      // Another one was opened, or a message sent, while this one was read.
      const now = get()
      if (now.conversation.id !== left.id || (now.running !== undefined && now.running !== running)) return
      // A reply that was in progress when the page was left has ended.
      conversation.turns = conversation.turns.map((turn) =>
        turn.role === 'assistant' && (turn.status === 'streaming' || turn.status === 'waiting')
          ? { ...turn, status: 'stopped' }
          : turn,
      )
      remember(id)
      set({ conversation, running: undefined })
    },

    async deleteChat(id) {
      await history.deleteConversation(id).catch(() => set({ historyWorks: false }))
      if (get().conversation.id === id) get().newChat()
      set({ summaries: await history.listConversations().catch(() => []) })
    },

    async renameChat(id, title) {
      const isOpen = get().conversation.id === id
      try {
        const conversation = isOpen ? get().conversation : await history.loadConversation(id)
        if (conversation === undefined) return
        const renamed = { ...conversation, title, named: title !== '' }
        renamed.title = titleOf(renamed)
        if (isOpen) update((now) => ({ ...now, title: renamed.title, named: renamed.named }))
        await history.saveConversation(renamed)
        set({ summaries: await history.listConversations() })
      } catch {
        set({ historyWorks: false })
      }
    },

    async startHistory() {
      try {
        set({ summaries: await history.listConversations() })
        const draft = await history.loadDraft()
        set((state) => ({
          draftText: state.draftText === '' ? draft.text : state.draftText,
          draftMedia: state.draftMedia.length === 0 ? draft.media : state.draftMedia,
        }))
        const last = localStorage.getItem(LAST)
        // A slow database must not take away a conversation that has begun.
        if (last !== null && get().conversation.turns.length === 0) await get().openChat(last)
      } catch {
        set({ historyWorks: false })
      }
    },

    startTalk() {
      const { settings, conversation } = get()
      const model = currentModel(get())
      if (model === undefined || get().running) return
      get().talk?.end()
      const talk = new TalkSession({
        model: model.id,
        apiKey: settings.apiKey,
        session: talkSettings(model, settings),
        history: talkHistory(conversation.turns),
        onTurn: (turn) => addTalkTurn(conversation.id, turn),
      })
      set({ talk })
      void talk.start()
    },

    closeTalk() {
      get().talk?.end()
      set({ talk: undefined })
    },

    async countDraft() {
      const { conversation, draftText, draftMedia, settings } = get()
      const model = currentModel(get())
      if (model === undefined) throw new Error('No model is chosen.')
      const turn: UserTurn = { id: 'draft', role: 'user', text: draftText, mediaIds: draftMedia.map((item) => item.id) }
      const media = { ...conversation.media, ...Object.fromEntries(draftMedia.map((item) => [item.id, item])) }
      const turns =
        draftText.trim() === '' && draftMedia.length === 0 ? conversation.turns : [...conversation.turns, turn]
      const request = buildRequest({ ...conversation, turns, media }, turns.length, model, settings)
      return (await countTokens(await inlineMedia(request, media), settings.apiKey)) as TokensCount
    },
  }
})

/** The model the settings name, as the server lists it. */
export function currentModel(state: Pick<State, 'models' | 'settings'>): ModelListing | undefined {
  return state.models.find((model) => model.id === state.settings.model)
}

/** Why one more file of a kind cannot be attached now. */
export function attachReasonNow(state: State, kind: Media['kind']): ReturnType<typeof attachReason> {
  const model = currentModel(state)
  return model && attachReason(model, kind, state.draftMedia)
}
