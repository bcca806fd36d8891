// The script of the well-known Spring guide's chat page, without the page: what it would show is kept as lines.
//
// `Stomp.over`, `connect` and `send` are what such scripts use; @stomp/stompjs still has them.

import { Stomp } from '@stomp/stompjs';

export class ChatPage {
  /** What the page shows, in order. */
  lines = [];
  error;
  #username;
  #stompClient;

  /** The visitor types a name. `socket` makes what the script gets from `new SockJS('/ws')`. */
  connect(username, socket) {
    this.#username = username;
    this.#stompClient = Stomp.over(socket);
    this.#stompClient.debug = () => {};
    this.#stompClient.connect({}, () => this.#onConnected(), () => this.#onError());
  }

  #onConnected() {
    this.#stompClient.subscribe('/topic/public', (payload) => this.#onMessageReceived(payload));
    this.#stompClient.send('/app/chat.addUser', {}, JSON.stringify({ sender: this.#username, type: 'JOIN' }));
  }

  #onError() {
    this.error = 'Could not connect to WebSocket server. Please refresh this page to try again!';
  }

  sendMessage(text) {
    const messageContent = text.trim();
    if (messageContent && this.#stompClient) {
      const chatMessage = { sender: this.#username, content: messageContent, type: 'CHAT' };
      this.#stompClient.send('/app/chat.sendMessage', {}, JSON.stringify(chatMessage));
    }
  }

  #onMessageReceived(payload) {
    const message = JSON.parse(payload.body);
    if (message.type === 'JOIN') this.lines.push(`${message.sender} joined!`);
    else if (message.type === 'LEAVE') this.lines.push(`${message.sender} left!`);
    else this.lines.push(`${message.sender}: ${message.content}`);
  }

  /** The visitor closes the tab. */
  close() {
    this.#stompClient.forceDisconnect();
  }
}
